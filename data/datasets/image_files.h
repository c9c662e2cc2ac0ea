#pragma once

#include <filesystem>
#include <vector>

#include "data/dataset.h"
#include "data/test_view.h"

namespace striate {

/// Picture files by themselves, without labels: label() is kUnlabelled, and there are no class names. load() gives a
/// picture as the view's transforms leave it, so that a Loader needs none; a file that cannot be read, or of which they
/// make no image of the view's size, is an IoError that names it. A Loader that skips broken pictures then skips both.
class ImageFiles final : public Dataset {
 public:
  ImageFiles(std::vector<std::filesystem::path> files, const TestView& view);

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int channels() const override { return view_.channels; }
  int label(int64_t) const override { return kUnlabelled; }
  using Dataset::load;
  void load(int64_t index, Image& image) const override;
  std::string describe(int64_t index) const override { return files_[static_cast<size_t>(index)].string(); }

 private:
  std::vector<std::filesystem::path> files_;
  TestView view_;
  std::vector<std::string> class_names_;
};

}  // namespace striate
