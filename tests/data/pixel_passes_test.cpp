// The passes over pixels on every instruction set that this build and this machine have.
#include "data/transforms/pixel_passes.h"

#include <gtest/gtest.h>

// Before Highway: the sets that the passes are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "data/pixel_normalizer.h"
#include "engine/random.h"
#include "tests/support/guarded_buffer.h"

namespace striate {
namespace {

using test::GuardedBuffer;

class PixelPasses : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { choose(GetParam()); }
  void TearDown() override { choose(0); }

  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

INSTANTIATE_TEST_SUITE_P(, PixelPasses, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& c) { return std::string(hwy::TargetName(c.param)); });

Image noise(int height, int width, int channels, Random& random) {
  Image image;
  image.reshape(height, width, channels);
  for (auto& pixel : image.pixels) pixel = static_cast<uint8_t>(random.below(256));
  return image;
}

/// Outputs of 1 to 6 inputs each, anywhere, by random weights that sum to 1.
ResizeAxis any_axis(int in, int out, Random& random) {
  ResizeAxis axis;
  axis.taps = 7;
  axis.weights.assign(static_cast<size_t>(out) * axis.taps, 0);
  for (int o = 0; o < out; ++o) {
    const int count = 1 + static_cast<int>(random.below(static_cast<uint64_t>(std::min(in, 6))));
    axis.first.push_back(o == 0 ? 0 : static_cast<int>(random.below(static_cast<uint64_t>(in - count + 1))));
    axis.count.push_back(count);
    int rest = 1 << kWeightBits;
    for (int t = 0; t < count; ++t) {
      const int weight = t + 1 == count ? rest : static_cast<int>(random.below(static_cast<uint64_t>(rest) + 1));
      axis.weights[static_cast<size_t>(o) * axis.taps + t] = weight;
      rest -= weight;
    }
  }
  return axis;
}

uint8_t weighted(const ResizeAxis& axis, int output, const uint8_t* in, size_t step) {
  int64_t sum = 1 << (kWeightBits - 1);
  for (int t = 0; t < axis.count[output]; ++t) {
    sum += int64_t{in[(axis.first[output] + t) * step]} * axis.weights[static_cast<size_t>(output) * axis.taps + t];
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kWeightBits, 0, 255));
}

TEST_P(PixelPasses, ResizeExactly) {
  Random random(1, RandomPurpose::test);
  for (const int channels : {1, 3}) {
    for (const auto& [in, out, others] : std::vector<std::array<int, 3>>{
             {1, 1, 1}, {1, 5, 2}, {3, 2, 4}, {9, 4, 5}, {7, 19, 6}, {40, 21, 11}, {23, 23, 90}, {60, 100, 3}}) {
      const ResizeAxis axis = any_axis(in, out, random);
      // The rows of the source lie farther apart than they are long, and nothing lies behind the last one.
      const auto stride = static_cast<size_t>((in + 2) * channels);
      const Image wide = noise(others, in + 2, channels, random);
      const std::vector<uint8_t> source(wide.pixels.begin(), wide.pixels.end() - 2 * channels);
      Image rows;
      rows.reshape(others, out, channels);
      resize_rows(source.data(), stride, axis, rows);
      for (int y = 0; y < others; ++y) {
        for (int x = 0; x < out; ++x) {
          for (int c = 0; c < channels; ++c) {
            ASSERT_EQ(rows.row(y)[x * channels + c], weighted(axis, x, source.data() + y * stride + c, channels))
                << in << " to " << out << ", " << y << "," << x << "," << c;
          }
        }
      }
      const Image tall = noise(in, others, channels, random);
      Image columns;
      columns.reshape(out, others, channels);
      resize_columns(tall.pixels.data(), tall.row_bytes(), axis, columns);
      for (int y = 0; y < out; ++y) {
        for (int i = 0; i < others * channels; ++i) {
          ASSERT_EQ(columns.row(y)[i], weighted(axis, y, tall.pixels.data() + i, tall.row_bytes()))
              << in << " to " << out << ", " << y << "," << i;
        }
      }
    }
  }
}

TEST_P(PixelPasses, NormalizeAsTheTableSays) {
  Random random(2, RandomPurpose::test);
  std::vector<Normalization> normalizations = {{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
                                               {{0.1307}, {0.3081}},
                                               {{0.0}, {1.0 / 255.0}},
                                               {{0.0, 0.0, 0.0}, {1.0, 1.0, 1.0}},
                                               {{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}},
                                               {{0.4, 0.2, 0.0}, {0.2, 0.3, 0.5}}};
  for (int i = 0; i < 50; ++i) {
    Normalization any;
    for (int c = 0; c < 3; ++c) {
      any.mean.push_back(random.uniform());
      any.std.push_back(random.uniform(0.001f, 1.0f));
    }
    normalizations.push_back(any);
  }
  for (const Normalization& normalization : normalizations) {
    const auto channels = static_cast<int>(normalization.mean.size());
    const std::vector<float> table = normalization.table();
    const PixelNormalizer normalizer(normalization);
    for (const int width : {1, 2, 31, 300}) {
      for (const bool streamed : {false, true}) {
        const Image image = noise(3, width, channels, random);
        for (const int64_t offset : {0, 1}) {  // aligned for streaming, and not
          GuardedBuffer<float> out(static_cast<int64_t>(image.pixels.size()) + offset);
          normalizer.apply(image, streamed, out.data() + offset);
          for (size_t i = 0; i < image.pixels.size(); ++i) {
            const float expected = table[i % static_cast<size_t>(channels) * 256 + image.pixels[i]];
            ASSERT_EQ(0, std::memcmp(&out[static_cast<int64_t>(i) + offset], &expected, sizeof(float)))
                << "level " << int{image.pixels[i]} << " at " << i;
          }
          ASSERT_TRUE(out.intact());
        }
      }
    }
  }
}

TEST_P(PixelPasses, NormalizeByScalingWhereTheMeanIsALevelToo) {
  // 0.4 is level 102 of 255, and nothing but 0 itself is left of it.
  for (const double mean : {0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0}) {
    for (const double deviation : {0.2, 0.25, 0.3, 0.5, 1.0}) {
      EXPECT_TRUE(PixelNormalizer({{mean}, {deviation}}).scales()) << mean << ", " << deviation;
      EXPECT_TRUE(PixelNormalizer({{mean, 0.485, 0.5}, {deviation, 0.229, 0.5}}).scales()) << mean << ", " << deviation;
    }
  }
}

}  // namespace
}  // namespace striate
