#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace striate {

/// A layer's kernels as pictures, over the epochs.
struct KernelHistory {
  std::string layer;        ///< "features.0"
  std::string description;  ///< how weights became pictures
  int64_t count = 0, height = 0, width = 0;
  int64_t channels = 0;         ///< of the pictures: 1 or 3
  std::vector<int64_t> epochs;  ///< ascending
  std::vector<uint8_t> pixels;  ///< [epochs, count, height, width, channels], each kernel scaled to its own range

  /// One more epoch of a layer's weights [K,R,S,C]. Throws ShapeError where they are no kernels, or not of the size of
  /// those before.
  void add(int64_t epoch, const Tensor& weights);
};

/// What tune measured of those kernels, over the epochs.
struct TuningHistory {
  std::vector<int64_t> epochs;               ///< ascending
  std::vector<double> orientations;          ///< degrees
  std::vector<double> frequencies;           ///< cycles per image
  std::vector<std::string> columns;          ///< of tuning.csv
  std::vector<std::optional<double>> table;  ///< [epochs, kernels, columns]
  std::vector<float> peaks;                  ///< [epochs, kernels]: the largest response, 0 for a silent kernel
  std::vector<uint8_t> curves;  ///< [epochs, kernels, orientations, frequencies]: mean over phases and colours
                                ///< of the rectified response, 255 being the peak
  int64_t kernels() const;

  /// One more epoch. `responses` [kernels, orientations, frequencies, repeats] are not rectified, `rows` are those of
  /// tuning.csv. Throws ShapeError unless sizes agree with each other and with the epochs before.
  void add(int64_t epoch, const std::vector<std::vector<std::optional<double>>>& rows,
           std::span<const float> responses);
};

/// Every epoch's conv1_kernels_epoch_E.safetensors of a run's folder; of more than `most_epochs` an even choice with
/// the first and the last. Absent where there are none. Throws IoError, naming the file, for one that is broken or does
/// not fit the others.
std::optional<KernelHistory> read_kernel_history(const std::filesystem::path& run, size_t most_epochs);

/// Likewise kernel_responses_EE/{tuning.csv,responses.safetensors}.
std::optional<TuningHistory> read_tuning_history(const std::filesystem::path& run, size_t most_epochs);

}  // namespace striate
