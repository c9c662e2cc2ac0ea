#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/loader.h"
#include "engine/nn/module.h"
#include "tools/command_line.h"
#include "tools/experiment.h"
#include "tools/network_flags.h"
#include "tools/standalone_network.h"

namespace striate::visualize {

/// Flags of the subcommands that show a network pictures.
struct ImageFlags {
  CommonFlags common;
  NetworkFlags network;
  std::string split = "test";
  std::vector<std::string> images;  ///< files and folders instead of a split
  int64_t seed = -1;                ///< of the choice; −1: the configuration's

  void add_to(CommandLine& command_line, bool files);
};

/// Pictures as the network sees them.
struct Selection {
  std::vector<Image> pictures;
  std::vector<std::string> names;  ///< a file's name, or "test 123"
  std::vector<int32_t> labels;     ///< −1 where it is not known
  Tensor input;                    ///< [N,H,W,C] on the host, normalised
};

/// A network and the pictures to show it: a part of its dataset, or files.
class ImageSource {
 public:
  /// Throws what NetworkFlags, Experiment and open_network() throw, ConfigError for an unknown split, IoError for files
  /// that are missing and folders without pictures.
  explicit ImageSource(const ImageFlags& flags);

  nn::Module& model() { return *model_; }
  const NetworkSource& network() const { return network_; }
  Device device() const { return network_.config.device; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  int64_t classes() const { return static_cast<int64_t>(class_names_.size()); }
  int channels() const { return channels_; }
  /// Whether the pictures have true classes: those of files and of an unlabelled test part have none.
  bool labelled() const { return experiment_ != nullptr && experiment_->has_labels(split_); }
  /// Throws ConfigError unless they have.
  void require_labels() const;
  int64_t images() const { return static_cast<int64_t>(set_.indices.size()); }
  /// "alexnet_mini on fashion_mnist, test part", or without a dataset "alexnet_mini".
  const std::string& title() const { return title_; }
  /// What the weights are, for a subtitle: "best.safetensors of runs/first", "freshly initialised weights".
  std::string weights_text() const;

  /// `count` pictures, drawn by the seed; fewer where there are no more. Files are taken in their order. Broken ones
  /// are an IoError, or passed over with data.skip_broken.
  Selection choose(int64_t count) const;
  /// All pictures in order (a loader that was there before is closed), or `count` of them drawn by the seed.
  Loader& loader(int64_t count = 0);
  /// The picture with that number among the last loader's.
  Image picture(int64_t place) const;

 private:
  void open_split(const ImageFlags& flags);
  void open_files(const ImageFlags& flags);
  std::vector<int64_t> drawn(int64_t count) const;

  NetworkSource network_;
  std::unique_ptr<Experiment> experiment_;
  StandaloneNetwork standalone_;
  nn::Module* model_ = nullptr;
  std::vector<std::string> class_names_;
  SampleSet set_;
  Normalization normalization_;
  LoaderOptions loader_options_;
  std::unique_ptr<Loader> loader_;
  std::string split_, title_;
  int channels_ = 0;
  uint64_t seed_ = 0;
};

/// Images [N,H,W,C] of one size as the network sees them.
Tensor normalised(const std::vector<Image>& pictures, const Normalization& normalization);

}  // namespace striate::visualize
