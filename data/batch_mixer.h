#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/random.h"
#include "engine/train/batch_source.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// α of the Beta(α, α) that the share of a picture is drawn from; 0: off. With both on each batch draws which it gets.
struct MixOptions {
  double mixup = 0.0;   ///< Zhang et al. 2018, arXiv:1710.09412
  double cutmix = 0.0;  ///< Yun et al. 2019, arXiv:1905.04899
  bool any() const { return mixup > 0 || cutmix > 0; }
};

/// What mixing does to one batch, as torchvision.transforms.v2 has it: one share for all its pictures.
struct BatchMix {
  float share = 1.0f;   ///< of each picture itself; the rest is its partner's
  bool is_cut = false;  ///< a rectangle is the partner's; else every pixel is a weighted mean
  int top = 0, left = 0, bottom = 0, right = 0;
};

/// From Beta(α, α), by two Gammas (Marsaglia & Tsang 2000, "A simple method for generating gamma variables").
double draw_beta(Random& random, double alpha);

/// Hangs on (seed, epoch, batch) alone. A cut is a rectangle with the picture's proportions and √(1 − λ) of its sides
/// about a point anywhere; what lies outside the picture is clipped, and the share is that of the pixels that stay.
BatchMix draw_batch_mix(const MixOptions& options, uint64_t seed, int64_t epoch, int64_t batch, int height, int width);

/// Mixes images [rows, height, width, channels] in place; the partner of each is the one before it, the first's is
/// `first_partner` [height, width, channels], which is none of them in memory.
void mix_images(float* images, int64_t rows, int height, int width, int channels, const BatchMix& mix,
                const float* first_partner);

/// A loader's mixing of its batches: each picture with the one before it, the first with the last, a batch rolled by
/// one. Of a part of a batch the first one's partner is another part's, the halo.
class BatchMixer {
 public:
  /// Of images [height, width, channels].
  BatchMixer(const MixOptions& options, uint64_t seed, int height, int width, int channels)
      : options_(options), seed_(seed), height_(height), width_(width), channels_(channels) {}

  bool is_on() const { return options_.any(); }
  /// Mixes `rows` pictures; `halo` is null where they are the whole batch, of which one alone stays as it is. `last` is
  /// memory for a picture, kept for the next call. Any thread may call it.
  void mix(float* images, int64_t rows, const float* halo, int64_t epoch, int64_t batch,
           std::vector<float>& last) const;
  /// What mix() would do to so many pictures, the halo counted, for a device to do it.
  ImageMix mix_of(int64_t pictures, int64_t epoch, int64_t batch) const;
  /// Gives a batch that mix() saw its partners' labels, the first one's being the halo's, where there is one, and its
  /// share; they stay as they are until the next call. Nothing where the whole batch is one picture: not `is_mixed`.
  void pair_labels(Batch& batch, std::optional<int32_t> halo, bool is_mixed, int64_t epoch);

 private:
  BatchMix draw(int64_t epoch, int64_t batch) const {
    return draw_batch_mix(options_, seed_, epoch, batch, height_, width_);
  }

  MixOptions options_;
  uint64_t seed_;
  int height_, width_, channels_;
  Tensor partner_labels_;
};

}  // namespace striate
