#include "data/datasets/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/random.h"
#include "kernels/error.h"

namespace striate {
namespace {

enum Shape {
  disc,
  ring,
  square,
  triangle,
  cross,
  horizontal_stripes,
  vertical_stripes,
  diagonal_stripes,
  checkerboard,
  dots
};

/// Distance to the nearest stripe's edge, negative inside a stripe; stripes and gaps are equally wide.
float stripes(float t, float period) { return std::abs(t - period * std::round(t / period)) - period / 4; }

/// Roughly the distance of (u, v) from the shape's edge, negative inside; the shape fills the unit circle, v points
/// down.
float edge_distance(int shape, float u, float v) {
  constexpr float kStripePeriod = 0.7f, kCellPeriod = 0.9f, kDotPeriod = 0.75f;
  const float radius = std::sqrt(u * u + v * v);
  switch (shape) {
    case disc:
      return radius - 0.95f;
    case ring:
      return std::abs(radius - 0.75f) - 0.22f;
    case square:
      return std::max(std::abs(u), std::abs(v)) - 0.8f;
    case triangle:
      return std::max(0.866f * std::abs(u) - 0.5f * v, v) - 0.5f;
    case cross:
      return std::min(std::max(std::abs(u) - 0.25f, std::abs(v) - 1.0f),
                      std::max(std::abs(v) - 0.25f, std::abs(u) - 1.0f));
    case horizontal_stripes:
      return std::max(radius - 1.1f, stripes(v, kStripePeriod));
    case vertical_stripes:
      return std::max(radius - 1.1f, stripes(u, kStripePeriod));
    case diagonal_stripes:
      return std::max(radius - 1.1f, stripes(0.7071f * (u + v), kStripePeriod));
    case checkerboard: {
      const float a = stripes(u, kCellPeriod), b = stripes(v, kCellPeriod);
      return std::max(radius - 1.1f, std::max(std::min(a, b), -std::max(a, b)));
    }
    default: {
      const float x = u - kDotPeriod * std::round(u / kDotPeriod), y = v - kDotPeriod * std::round(v / kDotPeriod);
      return std::max(radius - 1.1f, std::sqrt(x * x + y * y) - 0.22f);
    }
  }
}

/// Everything about a picture but its noise.
struct Scene {
  int shape;
  float centre_x, centre_y, radius;  // pixels
  float cosine, sine, mirror;        // tilt of the shape; −1 mirrors it
  std::array<float, 3> background, foreground;
  float shade_x, shade_y;  // how much brighter the right and the lower edge are than the left and the upper
  float noise;             // half the width of the uniform noise
};

Scene draw_scene(const SyntheticOptions& options, int shape, Random& random) {
  Scene scene;
  scene.shape = shape;
  const float side = static_cast<float>(std::min(options.height, options.width));
  scene.radius = side * random.uniform(0.27f, 0.42f);
  scene.centre_x = random.uniform(scene.radius, static_cast<float>(options.width) - scene.radius);
  scene.centre_y = random.uniform(scene.radius, static_cast<float>(options.height) - scene.radius);
  const float tilt = random.uniform(-0.2f, 0.2f);
  scene.cosine = std::cos(tilt);
  scene.sine = std::sin(tilt);
  scene.mirror = random.chance(0.5f) ? -1.0f : 1.0f;
  const float ground = random.uniform(0.15f, 0.85f);
  const float contrast = random.uniform(0.25f, 0.5f);
  const float figure = ground < 0.5f ? ground + contrast : ground - contrast;
  for (int c = 0; c < 3; ++c) {
    scene.background[c] = ground + random.uniform(-0.12f, 0.12f);
    scene.foreground[c] = figure + random.uniform(-0.12f, 0.12f);
  }
  scene.shade_x = random.uniform(-0.2f, 0.2f);
  scene.shade_y = random.uniform(-0.2f, 0.2f);
  scene.noise = random.uniform(0.02f, 0.12f);
  return scene;
}

class Synthetic final : public Dataset {
 public:
  Synthetic(const SyntheticOptions& options, bool test)
      : options_(options), test_(test), class_names_{"disc",
                                                     "ring",
                                                     "square",
                                                     "triangle",
                                                     "cross",
                                                     "horizontal stripes",
                                                     "vertical stripes",
                                                     "diagonal stripes",
                                                     "checkerboard",
                                                     "dots"} {}

  int64_t size() const override { return test_ ? options_.test_images : options_.train_images; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int channels() const override { return options_.channels; }
  int label(int64_t index) const override { return static_cast<int>(index % classes()); }
  std::string describe(int64_t index) const override {
    return fmt::format("synthetic {} image {}", test_ ? "test" : "training", index);
  }

  void load(int64_t index, Image& image) const override {
    image.reshape(options_.height, options_.width, options_.channels);
    Random random(options_.seed, RandomPurpose::synthetic, static_cast<uint64_t>(index), test_ ? 1 : 0);
    const Scene scene = draw_scene(options_, label(index), random);
    uint8_t* out = image.pixels.data();
    uint32_t word = 0;
    int left = 0;
    for (int y = 0; y < image.height; ++y) {
      const float dy = static_cast<float>(y) + 0.5f - scene.centre_y;
      for (int x = 0; x < image.width; ++x) {
        const float dx = static_cast<float>(x) + 0.5f - scene.centre_x;
        const float u = scene.mirror * (scene.cosine * dx + scene.sine * dy), v = scene.cosine * dy - scene.sine * dx;
        const float distance = edge_distance(scene.shape, u / scene.radius, v / scene.radius) * scene.radius;
        const float coverage = std::clamp(0.5f - distance, 0.0f, 1.0f);
        const float shade = scene.shade_x * (static_cast<float>(x) / static_cast<float>(image.width) - 0.5f) +
                            scene.shade_y * (static_cast<float>(y) / static_cast<float>(image.height) - 0.5f);
        for (int c = 0; c < image.channels; ++c) {
          if (left == 0) {
            word = random.word();
            left = 4;
          }
          // A byte of a word is noise enough for an 8-bit picture.
          const float noise = (static_cast<float>(word & 255) / 127.5f - 1.0f) * scene.noise;
          word >>= 8;
          --left;
          const float level =
              scene.background[c] + coverage * (scene.foreground[c] - scene.background[c]) + shade + noise;
          *out++ = static_cast<uint8_t>(std::clamp(level, 0.0f, 1.0f) * 255.0f + 0.5f);
        }
      }
    }
  }

 private:
  SyntheticOptions options_;
  bool test_;
  std::vector<std::string> class_names_;
};

}  // namespace

DatasetParts open_synthetic(const SyntheticOptions& options) {
  constexpr int kSmallest = 8, kLargest = 4096;
  require<ConfigError>(
      std::min(options.height, options.width) >= kSmallest && std::max(options.height, options.width) <= kLargest,
      "synthetic: expected an image size of {} to {} pixels a side, found {}×{}", kSmallest, kLargest, options.height,
      options.width);
  require<ConfigError>(options.train_images > 0 && options.test_images > 0,
                       "synthetic: expected at least one training and one test image, found {} and {}",
                       options.train_images, options.test_images);
  return {std::make_shared<Synthetic>(options, false), std::make_shared<Synthetic>(options, true)};
}

}  // namespace striate
