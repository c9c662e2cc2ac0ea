#include "tools/experiments/kernel_history.h"

#include <fmt/format.h>

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

/// What does not fit is the file's fault.
template <typename Fn>
void naming(const fs::path& path, Fn&& fn) {
  try {
    fn();
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

}  // namespace

int64_t TuningHistory::kernels() const {
  return epochs.empty() ? 0 : static_cast<int64_t>(peaks.size() / epochs.size());
}

void KernelHistory::add(int64_t epoch, const Tensor& weights) {
  const std::vector<Image> images = filter_images(weights, FilterScale::kernel);
  const Image& first = images.front();
  const auto found = static_cast<int64_t>(images.size());
  if (epochs.empty()) {
    description = describe_filters(weights, FilterScale::kernel);
    count = found;
    height = first.height;
    width = first.width;
    channels = first.channels;
  }
  require<ShapeError>(count == found && height == first.height && width == first.width && channels == first.channels,
                      "{} kernels of {}x{} do not fit the {} of {}x{} of the epochs before", found, first.height,
                      first.width, count, height, width);
  epochs.push_back(epoch);
  for (const Image& image : images) pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
}

void TuningHistory::add(int64_t epoch, const std::vector<std::vector<std::optional<double>>>& rows,
                        std::span<const float> responses) {
  const size_t grid = orientations.size() * frequencies.size();
  const size_t repeats = rows.empty() || grid == 0 ? 0 : responses.size() / (rows.size() * grid);
  require<ShapeError>(repeats > 0 && responses.size() == rows.size() * grid * repeats &&
                          (epochs.empty() || kernels() == static_cast<int64_t>(rows.size())),
                      "{} responses of {} kernels do not fit a grid of {}x{} gratings, or not the epochs before",
                      responses.size(), rows.size(), orientations.size(), frequencies.size());
  const float* response = responses.data();
  for (const auto& row : rows) {
    require<ShapeError>(row.size() == columns.size(), "a row of {} measures, expected {}", row.size(), columns.size());
    table.insert(table.end(), row.begin(), row.end());
    std::vector<float> curve(grid);
    for (float& mean : curve) {
      for (size_t r = 0; r < repeats; ++r) mean += std::max(0.0f, *response++) / static_cast<float>(repeats);
    }
    const float peak = *std::max_element(curve.begin(), curve.end());
    peaks.push_back(peak);
    for (const float value : curve) {
      curves.push_back(peak > 0.0f ? static_cast<uint8_t>(std::lround(255.0f * value / peak)) : 0);
    }
  }
  epochs.push_back(epoch);
}

std::optional<KernelHistory> read_kernel_history(const fs::path& run, size_t most_epochs) {
  KernelHistory history;
  for (const auto& [epoch, path] : by_epoch(run, "conv1_kernels_epoch_", ".safetensors", most_epochs)) {
    const Safetensors file = read_safetensors(path.string());
    naming(path, [&] { history.add(epoch, tensor_of(file, path, "kernels", 4)); });
    history.layer = file.text("layer");
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
    const MetricsTable table = MetricsTable::read(csv);
    const std::vector<double> orientations = values_of(tensor_of(file, path, "orientation_deg", 1));
    const std::vector<double> frequencies = values_of(tensor_of(file, path, "spatial_frequency_cycles_per_image", 1));
    if (history.epochs.empty()) {
      history.orientations = orientations;
      history.frequencies = frequencies;
      history.columns = table.columns;
    }
    require<IoError>(
        orientations == history.orientations && frequencies == history.frequencies && table.columns == history.columns,
        "{}: its gratings or the columns of tuning.csv are not those of the epochs before", path.string());
    const Tensor& responses = tensor_of(file, path, "responses", 5);
    const Shape& shape = responses.shape();  // [kernels, orientations, frequencies, phases, colours]
    const auto sizes = {std::ssize(table.rows), std::ssize(orientations), std::ssize(frequencies)};
    require<IoError>(std::equal(sizes.begin(), sizes.end(), shape.begin()),
                     "{}: responses {} do not fit {} kernels in {}, {} orientations and {} frequencies", path.string(),
                     to_string(shape), table.rows.size(), csv.string(), orientations.size(), frequencies.size());
    naming(path, [&] {
      history.add(epoch, table.rows, {responses.data<float>(), static_cast<size_t>(responses.size())});
    });
  }
  if (history.epochs.empty()) return std::nullopt;
  return history;
}

}  // namespace striate
