#pragma once

#include <filesystem>
#include <string>

namespace striate {

/// The folder that train leaves: INTERFACE "A run's folder".
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder) : path_(std::move(folder)) {}

  /// A folder that holds a run. Throws ConfigError that says what is missing where it holds none.
  static RunFolder existing(const std::filesystem::path& folder);
  /// One for a new run; not made yet. Throws ConfigError, pointing to --resume, where a run lies there already.
  static RunFolder fresh(const std::filesystem::path& folder);
  /// runs/NAME, or runs/NAME-2, …: the first that does not exist.
  static RunFolder next(const std::string& name);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.csv"; }
  /// A name a line, in the classes' order.
  std::filesystem::path class_names() const { return path_ / "class_names.txt"; }
  /// What `normalize: {mean_image: …}` subtracts; its config.yaml names it without the folder.
  static constexpr const char* kMeanImage = "mean_image.safetensors";
  std::filesystem::path mean_image() const { return path_ / kMeanImage; }
  std::filesystem::path figure() const { return path_ / "training_metrics.png"; }

  /// The weights that --checkpoint names: "best", "last", or a file of its own. "best" falls back on nothing: throws
  /// ConfigError where there are no such weights, saying which there are.
  std::filesystem::path weights(const std::string& checkpoint) const;

 private:
  std::filesystem::path path_;
};

}  // namespace striate
