#pragma once

#include <cstdint>
#include <string>

#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

/// What may be done to the levels of a picture's pixels, one step after another, with Pillow's arithmetic (blends
/// truncate; kernels/image_batch/levels.h).
enum class LevelStepKind : int32_t {
  brightness,     ///< amount[0]: factor towards black
  contrast,       ///< amount[0]: factor towards the picture's mean luminance, as the steps before left it
  saturation,     ///< amount[0]: factor towards each pixel's grey; grey pictures stay
  hue,            ///< amount[0]: turn in full circles, within [−0.5, 0.5]; grey pictures stay
  shift,          ///< amount[c]: added to channel c and cut to [0, 255]; a half in it makes that rounding
  erase,          ///< the rectangle becomes fill[c]
  erase_randomly  ///< the rectangle becomes random levels, each row from a word of its own on, four levels a word
};

struct LevelStep {
  LevelStepKind kind = LevelStepKind::brightness;
  float amount[3] = {};
  int32_t top = 0, left = 0, bottom = 0, right = 0;  ///< of what is erased, in the picture as it is seen
  uint8_t fill[4] = {};
  /// The words of a Philox stream from `first_word` on: word k is the (k mod 4)th of philox4x32({k/4, stream}, key).
  uint32_t first_word = 0, stream[3] = {}, key[2] = {};
};

/// Where a picture lies in its slot, and what of it is seen.
struct ImagePlacement {
  int32_t rows = 0, columns = 0;  ///< of the picture, in the slot's upper left
  int32_t top = 0, left = 0;      ///< of the window [H, W] that is seen; black where it reaches beyond the picture
  int32_t mirrored = 0;           ///< 1: left and right are exchanged in what is seen
  int32_t steps = 0;              ///< of its row of LevelSteps
};

/// From levels to what the network sees. The first that is given of:
///   offsets  y = level·factor[c] − offsets[row mod offset_rows, column, c], each operation rounded to float
///   table    y = table[c, level]
///   else     y = level·scale[c] + shift[c] in double precision, rounded to float
struct PixelScaling {
  double scale[3] = {}, shift[3] = {};
  const float* table = nullptr;    ///< [C, 256]
  const float* offsets = nullptr;  ///< [offset_rows, W, C]
  float factor[3] = {};
  int32_t offset_rows = 1;
};

/// Each picture mixed with the one before it in the batch, the first with the last (ImageBatchShape::halo): y = share·y
/// + (1 − share)·partner, each operation rounded to float, or a rectangle of the partner's.
struct ImageMix {
  enum class Kind : int32_t { none, blend, cut };
  Kind kind = Kind::none;
  float share = 1.0f;
  int32_t top = 0, left = 0, bottom = 0, right = 0;  ///< of the cut
};

struct ImageBatchShape {
  static constexpr int kMostSteps = 8;
  int64_t N = 0;               ///< pictures; may be 0
  int slot_h = 0, slot_w = 0;  ///< pixels that each picture has room for
  int H = 0, W = 0, C = 0;     ///< of what is seen; C is 1 or 3
  int steps = 0;               ///< LevelSteps that each picture has room for
  /// Whether one of them may be contrast; at most one of a picture's is.
  bool has_contrast = false;
  /// 1: behind the N is one picture more, which is the first one's partner where they are mixed and has no y; else 0.
  int64_t halo = 0;

  int64_t pictures() const { return N + halo; }

  int64_t slot_size() const { return int64_t{slot_h} * slot_w * C; }
  int64_t image_size() const { return int64_t{H} * W * C; }
  /// Throws ShapeError unless sizes are positive, C is 1 or 3, the halo is 0 or 1, and a slot and an image have fewer
  /// than 2³¹ values.
  void check() const;
  std::string to_string() const;
};

/// Decoded pictures as they wait for the network.
struct ImageBatch {
  const uint8_t* pixels = nullptr;             ///< [pictures(), slot_h, slot_w, C]
  const ImagePlacement* placements = nullptr;  ///< [pictures()]
  const LevelStep* steps = nullptr;            ///< [pictures(), steps]
  PixelScaling scaling{};
  ImageMix mix{};
};

// y [N,H,W,C] = every picture's window, mirrored, through its steps, scaled, mixed; rounded once more where T is
// bfloat16. All backends give the same bits: no product and sum are contracted to one operation, by either compiler
// (-ffp-contract=off, --fmad=false in kernels/CMakeLists.txt). y aliases nothing.
namespace reference {
template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context& context);
}
namespace cpu {
template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context& context);
/// One step on a picture [height, width, channels] in place.
void apply_level_step(const LevelStep& step, uint8_t* pixels, int height, int width, int channels);
}  // namespace cpu
namespace cuda {
template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context& context);
}

}  // namespace striate
