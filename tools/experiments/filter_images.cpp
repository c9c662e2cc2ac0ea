#include "tools/experiments/filter_images.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "tools/experiments/image_grid.h"

namespace striate {
namespace {

/// The largest finite magnitude.
float largest(const float* values, int64_t count) {
  float most = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i])) most = std::max(most, std::abs(values[i]));
  }
  return most;
}

uint8_t level(float weight, float most) {
  if (!std::isfinite(weight)) return 255;
  return most > 0.0f ? static_cast<uint8_t>(std::lround(128.0f + 127.0f * (weight / most))) : uint8_t{128};
}

/// Slices of a [R,S,C] kernel side by side, nearly square, a white line between.
Image mosaic(const float* kernel, int rows, int columns, int channels, float most) {
  const int across = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(channels))));
  const int down = (channels + across - 1) / across;
  Image image;
  image.reshape(down * (rows + 1) - 1, across * (columns + 1) - 1, 1);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{255});
  for (int c = 0; c < channels; ++c) {
    for (int r = 0; r < rows; ++r) {
      uint8_t* to = image.row(c / across * (rows + 1) + r) + c % across * (columns + 1);
      for (int s = 0; s < columns; ++s) to[s] = level(kernel[(r * columns + s) * channels + c], most);
    }
  }
  return image;
}

}  // namespace

FilterScale parse_filter_scale(const std::string& text) {
  require<ConfigError>(text == "kernel" || text == "layer", "--normalize {}: expected kernel or layer", text);
  return text == "layer" ? FilterScale::layer : FilterScale::kernel;
}

std::vector<Image> filter_images(const Tensor& weights, FilterScale scale) {
  require<ShapeError>(weights.rank() == 4, "filters: expected weights [K,R,S,C], found {}", to_string(weights.shape()));
  const Tensor host = weights.detach().to(Device::cpu);
  const float* values = host.data<float>();
  const int rows = static_cast<int>(host.dim(1)), columns = static_cast<int>(host.dim(2)),
            channels = static_cast<int>(host.dim(3));
  const int64_t size = int64_t{rows} * columns * channels;
  const float layer = largest(values, host.size());
  std::vector<Image> images;
  for (int64_t k = 0; k < host.dim(0); ++k) {
    const float* kernel = values + k * size;
    const float most = scale == FilterScale::layer ? layer : largest(kernel, size);
    if (channels != 1 && channels != 3) {
      images.push_back(mosaic(kernel, rows, columns, channels, most));
      continue;
    }
    Image& image = images.emplace_back();
    image.reshape(rows, columns, channels);
    for (int64_t i = 0; i < size; ++i) image.pixels[static_cast<size_t>(i)] = level(kernel[i], most);
  }
  return images;
}

std::string describe_filters(const Tensor& weights, FilterScale scale) {
  const int64_t channels = weights.dim(3);
  const std::string shown = channels == 3   ? "three channels as red, green and blue"
                            : channels == 1 ? "one channel"
                                            : fmt::format("each a mosaic of its {} input channels", channels);
  return fmt::format("{}×{} weights, {}; grey is zero, scaled {}", weights.dim(1), weights.dim(2), shown,
                     scale == FilterScale::layer ? "by the layer's largest weight" : "kernel by kernel");
}

void draw_filters(const Tensor& weights, const std::string& title, const std::filesystem::path& file, FilterScale scale,
                  int64_t count, int columns) {
  std::vector<Image> images = filter_images(weights, scale);
  if (count > 0) images.resize(std::min(images.size(), static_cast<size_t>(count)));
  std::vector<GridCell> cells;
  for (Image& image : images) {
    cells.push_back({std::move(image), {{"", std::to_string(cells.size()), "", colour::kMuted}}});
  }
  draw_image_grid(cells, {title, describe_filters(weights, scale), columns}, file);
}

}  // namespace striate
