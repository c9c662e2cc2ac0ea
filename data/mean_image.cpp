#include "data/mean_image.h"

#include <algorithm>
#include <cmath>

#include "data/load_transformed.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"

namespace striate {

std::vector<double> MeanImage::channel_means() const {
  std::vector<double> means(static_cast<size_t>(channels), 0.0);
  for (size_t i = 0; i < values.size(); ++i) means[i % means.size()] += static_cast<double>(values[i]);
  for (double& mean : means) mean /= static_cast<double>(height) * width;
  return means;
}

MeanImage compute_mean_image(const Dataset& dataset, const PictureWalk& walk, const Pipeline& transforms,
                             const MeanImage& size, uint64_t seed) {
  struct Sums {
    int64_t pictures = 0;
    std::vector<uint64_t> levels;
    TransformScratch scratch;
  };
  const size_t count = static_cast<size_t>(size.height) * size.width * size.channels;
  std::vector<Sums> parts(static_cast<size_t>(walk.parts()));
  for (Sums& part : parts) part.levels.resize(count);
  walk_pictures(walk, [&](int64_t number, int64_t index, Image& image) {
    Sums& part = parts[static_cast<size_t>(number)];
    load_transformed(dataset, index, transforms, seed, 0, image, part.scratch);
    require<ShapeError>(image.height == size.height && image.width == size.width && image.channels == size.channels,
                        "{}: its test transforms make it {}×{}×{}, but a mean image of {}×{}×{} is wanted",
                        dataset.describe(index), image.height, image.width, image.channels, size.height, size.width,
                        size.channels);
    for (size_t i = 0; i < count; ++i) part.levels[i] += image.pixels[i];
    ++part.pictures;
  });
  Sums& all = parts.front();
  for (size_t p = 1; p < parts.size(); ++p) {
    for (size_t i = 0; i < count; ++i) all.levels[i] += parts[p].levels[i];
    all.pictures += parts[p].pictures;
  }
  require<IoError>(all.pictures > 0, "mean_image: computed: none of {} training images can be read",
                   walk.indices.size());
  MeanImage mean{size.height, size.width, size.channels, {}};
  for (const uint64_t sum : all.levels) {
    mean.values.push_back(static_cast<float>(static_cast<double>(sum) / static_cast<double>(all.pictures) / 255.0));
  }
  return mean;
}

void save_mean_image(const std::string& file, const MeanImage& image) {
  write_safetensors(file, {{"mean_image", Tensor::from(image.values, {image.height, image.width, image.channels})}},
                    {{"layout", "HWC"}, {"pixels", "from 0 to 1"}});
}

MeanImage load_mean_image(const std::string& file) {
  const Safetensors content = read_safetensors(file);
  const Tensor* tensor = content.find("mean_image");
  require<IoError>(tensor != nullptr, "{}: no tensor 'mean_image' in it; it is no mean image of a run", file);
  const Shape& shape = tensor->shape();
  require<IoError>(tensor->dtype() == DType::float32 && shape.size() == 3 && shape[0] > 0 && shape[0] <= 32768 &&
                       shape[1] > 0 && shape[1] <= 32768 && (shape[2] == 1 || shape[2] == 3),
                   "{}: mean_image is {} of {}, expected [height, width, 1 or 3] of float32", file, to_string(shape),
                   to_string(tensor->dtype()));
  MeanImage image{static_cast<int>(shape[0]), static_cast<int>(shape[1]), static_cast<int>(shape[2]),
                  tensor->to_vector<float>()};
  require<IoError>(std::all_of(image.values.begin(), image.values.end(), [](float v) { return v >= 0 && v <= 1; }),
                   "{}: mean_image holds values that are no pixels from 0 to 1", file);
  return image;
}

MeanImageSubtraction::MeanImageSubtraction(const MeanImage& image, const std::vector<double>& std)
    : height_(image.height), channels_(image.channels) {
  const auto channels = static_cast<size_t>(image.channels);
  for (size_t i = 0; i < static_cast<size_t>(image.width) * channels; ++i) {
    scale_.push_back(static_cast<float>(1.0 / (255.0 * std[i % channels])));
  }
  for (size_t i = 0; i < image.values.size(); ++i) {
    shift_.push_back(static_cast<float>(static_cast<double>(image.values[i]) / std[i % channels]));
  }
}

void MeanImageSubtraction::apply(const Image& image, float* out) const {
  const size_t row = scale_.size();
  for (int y = 0; y < image.height; ++y, out += row) {
    const uint8_t* in = image.row(y);
    const float* shift = shift_.data() + static_cast<size_t>(y % height_) * row;
    for (size_t i = 0; i < row; ++i) out[i] = static_cast<float>(in[i]) * scale_[i] - shift[i];
  }
}

void MeanImageSubtraction::describe(PixelScaling& scaling) const {
  std::copy_n(scale_.begin(), channels_, scaling.factor);  // of the first pixel, as of all
  scaling.offsets = shift_.data();
  scaling.offset_rows = height_;
}

}  // namespace striate
