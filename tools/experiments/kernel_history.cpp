#include "tools/experiments/kernel_history.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>

#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/metrics_table.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

/// Entries of a folder named PREFIX<epoch>SUFFIX, by epoch; an even choice of at most `most`.
std::map<int64_t, fs::path> by_epoch(const fs::path& folder, std::string_view prefix, std::string_view suffix,
                                     size_t most) {
  std::map<int64_t, fs::path> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) continue;
    const char* end = name.data() + name.size() - suffix.size();
    int64_t epoch = 0;
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, epoch);
    if (error == std::errc() && stop == end) all[epoch] = entry.path();
  }
  if (all.size() <= most) return all;
  std::map<int64_t, fs::path> some;
  size_t place = 0, kept = 0;
  for (const auto& [epoch, path] : all) {
    if (place * (most - 1) >= kept * (all.size() - 1)) {
      some[epoch] = path;
      ++kept;
    }
    ++place;
  }
  return some;
}

const Tensor& tensor_of(const Safetensors& file, const fs::path& path, const std::string& name, size_t axes) {
  const Tensor* tensor = file.find(name);
  require<IoError>(tensor != nullptr && tensor->dtype() == DType::float32 && tensor->shape().size() == axes,
                   "{}: expected a float32 tensor '{}' of {} axes; was it written by train or tune?", path.string(),
                   name, axes);
  return *tensor;
}

std::vector<double> values_of(const Tensor& tensor) {
  const float* values = tensor.data<float>();
  return {values, values + tensor.size()};
}

}  // namespace

int64_t TuningHistory::kernels() const {
  return epochs.empty() ? 0 : static_cast<int64_t>(peaks.size() / epochs.size());
}

std::optional<KernelHistory> read_kernel_history(const fs::path& run, size_t most_epochs) {
  KernelHistory history;
  for (const auto& [epoch, path] : by_epoch(run, "conv1_kernels_epoch_", ".safetensors", most_epochs)) {
    const Safetensors file = read_safetensors(path.string());
    const Tensor& kernels = tensor_of(file, path, "kernels", 4);
    const std::vector<Image> images = filter_images(kernels, FilterScale::kernel);
    const Image& first = images.front();
    if (history.epochs.empty()) {
      history.layer = file.text("layer");
      history.description = describe_filters(kernels, FilterScale::kernel);
      history.count = static_cast<int64_t>(images.size());
      history.height = first.height;
      history.width = first.width;
      history.channels = first.channels;
    }
    require<IoError>(history.count == static_cast<int64_t>(images.size()) && history.height == first.height &&
                         history.width == first.width && history.channels == first.channels,
                     "{}: its {} kernels of {}x{} do not fit the {} of {}x{} of the epochs before", path.string(),
                     images.size(), first.height, first.width, history.count, history.height, history.width);
    history.epochs.push_back(epoch);
    for (const Image& image : images) {
      history.pixels.insert(history.pixels.end(), image.pixels.begin(), image.pixels.end());
    }
  }
  if (history.epochs.empty()) return std::nullopt;
  return history;
}

std::optional<TuningHistory> read_tuning_history(const fs::path& run, size_t most_epochs) {
  TuningHistory history;
  for (const auto& [epoch, folder] : by_epoch(run, "kernel_responses_", "", most_epochs)) {
    const fs::path path = folder / "responses.safetensors", csv = folder / "tuning.csv";
    // A run that was cut off within an epoch leaves a folder without them.
    if (!fs::exists(path) || !fs::exists(csv)) continue;
    const Safetensors file = read_safetensors(path.string());
    const Tensor& responses =
        tensor_of(file, path, "responses", 5);  // [kernels, orientations, frequencies, phases, colours]
    const MetricsTable table = MetricsTable::read(csv);
    const auto kernels = static_cast<int64_t>(table.rows.size());
    if (history.epochs.empty()) {
      history.orientations = values_of(tensor_of(file, path, "orientation_deg", 1));
      history.frequencies = values_of(tensor_of(file, path, "spatial_frequency_cycles_per_image", 1));
      history.columns = table.columns;
    }
    const auto grid = static_cast<int64_t>(history.orientations.size() * history.frequencies.size());
    const Shape& shape = responses.shape();
    require<IoError>(shape[0] == kernels && shape[1] * shape[2] == grid && table.columns == history.columns &&
                         (history.epochs.empty() || history.kernels() == kernels),
                     "{}: its responses do not fit {}, or not the epochs before", path.string(), csv.string());
    for (const auto& row : table.rows) history.table.insert(history.table.end(), row.begin(), row.end());
    const float* response = responses.data<float>();
    const int64_t repeats = shape[3] * shape[4];
    for (int64_t k = 0; k < kernels; ++k) {
      std::vector<float> curve;
      for (int64_t i = 0; i < grid; ++i) {
        float sum = 0.0f;
        for (int64_t r = 0; r < repeats; ++r) sum += std::max(0.0f, *response++);
        curve.push_back(sum / static_cast<float>(repeats));
      }
      const float peak = *std::max_element(curve.begin(), curve.end());
      history.peaks.push_back(peak);
      for (const float value : curve) {
        history.curves.push_back(peak > 0.0f ? static_cast<uint8_t>(std::lround(255.0f * value / peak)) : 0);
      }
    }
    history.epochs.push_back(epoch);
  }
  if (history.epochs.empty()) return std::nullopt;
  return history;
}

}  // namespace striate
