// A picture a thread, step by step in 8 bits, and then scaled; what is mixed needs its neighbour's levels first.
#include <algorithm>
#include <cstring>

#include "kernels/image_batch/image_batch.h"
#include "kernels/image_batch/levels.h"

namespace striate::cpu {
namespace {

void place(const uint8_t* slot, const ImagePlacement& placement, const ImageBatchShape& s, uint8_t* out) {
  std::memset(out, 0, static_cast<size_t>(s.image_size()));
  for (int y = std::max(0, -placement.top); y < std::min(s.H, placement.rows - placement.top); ++y) {
    const uint8_t* row = slot + int64_t{placement.top + y} * s.slot_w * s.C;
    uint8_t* to = out + int64_t{y} * s.W * s.C;
    for (int x = std::max(0, -placement.left); x < std::min(s.W, placement.columns - placement.left); ++x) {
      std::memcpy(to + (placement.mirrored != 0 ? s.W - 1 - x : x) * s.C, row + (placement.left + x) * s.C,
                  static_cast<size_t>(s.C));
    }
  }
}

template <typename T>
void scale(const ImageBatch& batch, const uint8_t* seen, int64_t n, const ImageBatchShape& s, T* y) {
  const uint8_t* own = seen + n * s.image_size();
  const uint8_t* partner = seen + (n == 0 ? s.pictures() - 1 : n - 1) * s.image_size();
  for (int row = 0; row < s.H; ++row) {
    for (int column = 0; column < s.W; ++column) {
      const bool is_cut = batch.mix.kind == ImageMix::Kind::cut && levels::is_cut(batch.mix, row, column);
      for (int c = 0; c < s.C; ++c, ++own, ++partner, ++y) {
        const auto scaled = [&](int level) { return levels::scaled(batch.scaling, level, row, column, c, s.W, s.C); };
        float value = scaled(is_cut ? *partner : *own);
        if (batch.mix.kind == ImageMix::Kind::blend) value = levels::mixed(batch.mix, value, scaled(*partner));
        *y = levels::rounded<T>(value);
      }
    }
  }
}

}  // namespace

template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context& context) {
  shape.check();
  const int64_t size = shape.image_size();
  auto* seen = context.workspace->get<uint8_t>(shape.pictures() * size);
  context.threads->parallel_for(shape.pictures(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const ImagePlacement& placement = batch.placements[n];
      place(batch.pixels + n * shape.slot_size(), placement, shape, seen + n * size);
      for (int i = 0; i < placement.steps; ++i) {
        apply_level_step(batch.steps[n * shape.steps + i], seen + n * size, shape.H, shape.W, shape.C);
      }
    }
  });
  context.threads->parallel_for(shape.N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) scale(batch, seen, n, shape, y + n * size);
  });
}

template void image_batch(const ImageBatch&, float*, const ImageBatchShape&, Context&);
template void image_batch(const ImageBatch&, bfloat16*, const ImageBatchShape&, Context&);

}  // namespace striate::cpu
