#include "data/batch_mixer.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace striate {
namespace {

/// In (0, 1).
double open_uniform(Random& random) { return (static_cast<double>(random.word()) + 0.5) * 0x1p-32; }

/// The logarithm of a draw from Gamma(shape, 1): where the shape is small the draw itself is often below what a double
/// holds.
double draw_log_gamma(Random& random, double shape) {
  // Gamma(a) is Gamma(a + 1)·U^(1/a).
  const double boost = shape < 1.0 ? std::log(open_uniform(random)) / shape : 0.0;
  const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = random.normal(), root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log(open_uniform(random)) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v) + boost;
  }
}

}  // namespace

double draw_beta(Random& random, double alpha) {
  const double x = draw_log_gamma(random, alpha), y = draw_log_gamma(random, alpha);
  return 1.0 / (1.0 + std::exp(y - x));
}

BatchMix draw_batch_mix(const MixOptions& options, uint64_t seed, int64_t epoch, int64_t batch, int height, int width) {
  Random random(seed, RandomPurpose::mixing, static_cast<uint64_t>(epoch), static_cast<uint32_t>(batch));
  BatchMix mix;
  mix.is_cut = options.cutmix > 0;
  if (options.mixup > 0 && options.cutmix > 0) mix.is_cut = random.chance(0.5f);
  const double share = draw_beta(random, mix.is_cut ? options.cutmix : options.mixup);
  mix.share = static_cast<float>(share);
  if (!mix.is_cut) return mix;
  const int x = static_cast<int>(random.below(static_cast<uint64_t>(width)));
  const int y = static_cast<int>(random.below(static_cast<uint64_t>(height)));
  const double half = 0.5 * std::sqrt(1.0 - share);
  const int half_width = static_cast<int>(half * width), half_height = static_cast<int>(half * height);
  mix.left = std::max(x - half_width, 0);
  mix.right = std::min(x + half_width, width);
  mix.top = std::max(y - half_height, 0);
  mix.bottom = std::min(y + half_height, height);
  const double cut = static_cast<double>(mix.right - mix.left) * (mix.bottom - mix.top);
  mix.share = static_cast<float>(1.0 - cut / (static_cast<double>(width) * height));
  return mix;
}

void mix_images(float* images, int64_t rows, int height, int width, int channels, const BatchMix& mix,
                const float* first_partner) {
  const int64_t values = int64_t{height} * width * channels;
  const float own = mix.share, other = 1.0f - mix.share;
  const auto mix_in = [&](float* image, const float* partner) {
    if (!mix.is_cut) {
      for (int64_t i = 0; i < values; ++i) image[i] = own * image[i] + other * partner[i];
      return;
    }
    const int64_t begin = int64_t{mix.left} * channels, end = int64_t{mix.right} * channels;
    for (int y = mix.top; y < mix.bottom; ++y) {
      const int64_t row = int64_t{y} * width * channels;
      std::copy(partner + row + begin, partner + row + end, image + row + begin);
    }
  };
  // From the last picture up, each finds the one before it as it was.
  for (int64_t row = rows - 1; row > 0; --row) mix_in(images + row * values, images + (row - 1) * values);
  mix_in(images, first_partner);
}

void BatchMixer::mix(float* images, int64_t rows, const float* halo, int64_t epoch, int64_t batch,
                     std::vector<float>& last) const {
  if (!is_on() || rows < (halo == nullptr ? 2 : 1)) return;
  if (halo == nullptr) {
    const int64_t values = int64_t{height_} * width_ * channels_;
    last.assign(images + (rows - 1) * values, images + rows * values);
    halo = last.data();
  }
  mix_images(images, rows, height_, width_, channels_, draw(epoch, batch), halo);
}

ImageMix BatchMixer::mix_of(int64_t pictures, int64_t epoch, int64_t batch) const {
  if (!is_on() || pictures < 2) return {};
  const BatchMix mix = draw(epoch, batch);
  return {
      mix.is_cut ? ImageMix::Kind::cut : ImageMix::Kind::blend, mix.share, mix.top, mix.left, mix.bottom, mix.right};
}

void BatchMixer::pair_labels(Batch& batch, std::optional<int32_t> halo, bool is_mixed, int64_t epoch) {
  batch.partner_labels = Tensor();
  batch.share = 1.0f;
  if (!is_on() || !is_mixed) return;
  const int64_t rows = batch.labels.size();
  batch.share = draw(epoch, batch.index).share;
  if (!partner_labels_.defined() || partner_labels_.size() != rows) {
    partner_labels_ = Tensor::empty({rows}, DType::int32);
  }
  batch.partner_labels = partner_labels_;
  if (rows == 0) return;
  const int32_t* own = std::as_const(batch.labels).data<int32_t>();
  int32_t* partners = partner_labels_.data<int32_t>();
  partners[0] = halo.value_or(own[rows - 1]);
  std::copy(own, own + rows - 1, partners + 1);
}

}  // namespace striate
