// The optimizer's update of a linear layer's weights by a gradient in bfloat16, dw = dyᵀ·x through the register tile of
// kernels/gemm/micro_bf16.h. A task owns a block of weights; a row of its tiles is made in the L2 cache, beside the
// weights and the optimizer's state, which are fetched meanwhile, and moves them. Bound by these: w and the state are
// read and written once. Each value is one chain in ascending order of the batch, as plain_weight_gradient() sums it.
#include <algorithm>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/cache_size.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/prefetch.h"
#include "kernels/linear/many_rows.h"
#include "kernels/linear/tiles.h"

namespace striate::cpu {

namespace {

using gemm::ceil_div;
using gemm::round_up;

/// What the update reads of a row of tiles.
class NextWeights {
 public:
  NextWeights(const ParameterUpdate<float>& u, int64_t stride, int64_t rows, int64_t calls)
      : w_(u.w, stride, rows, u.n),
        s1_(u.s1, stride, u.s1 != nullptr ? rows : 0, u.n),
        s2_(u.s2, stride, u.s2 != nullptr ? rows : 0, u.n),
        rounded_(u.rounded, stride, u.rounded != nullptr ? rows : 0, u.n),
        lines_(w_.share(calls)),
        rounded_lines_(rounded_.share(calls)) {}
  void fetch() {
    w_.fetch(lines_);
    s1_.fetch(lines_);
    s2_.fetch(lines_);
    rounded_.fetch(rounded_lines_);
  }

 private:
  gemm::Prefetch w_, s1_, s2_, rounded_;
  int64_t lines_, rounded_lines_;
};

}  // namespace

void linear_update_in_bf16(const bfloat16* x, const bfloat16* dy, const LinearShape& shape, const UpdateRule& rule,
                           const ParameterUpdate<float>& update, Context& context) {
  constexpr int64_t kMostTiles = 16, kMostColumns = 1024;
  const gemm::MicroKernels<bfloat16> micro = gemm::micro_kernels<bfloat16>();
  const LinearTiles tiles = linear_tiles();
  const int64_t N = shape.N, C = shape.C, nr = micro.nr, steps = ceil_div(N, micro.cell);
  const int64_t panels = ceil_div(C, nr), wanted = 4 * context.threads->size();
  const int64_t most_panels =
      std::max<int64_t>(1, std::min(gemm::second_level_cache() / 4 / (4 * nr * steps), kMostColumns / nr));
  const gemm::Parts rows(shape.K, micro.mr, std::clamp<int64_t>(ceil_div(shape.K, wanted), 1, kMostTiles * micro.mr));
  const gemm::Parts columns(panels, 1, std::clamp<int64_t>(panels * rows.count / wanted, 1, most_panels));
  const int64_t x_floats = round_up(panels * nr * steps, 16), dy_floats = round_up(rows.longest() * steps + nr, 16);
  const int64_t kept_stride = gemm::padded_stride(columns.longest() * nr), offset_floats = round_up(2 * micro.mr, 16);
  const int64_t scratch = offset_floats + dy_floats + micro.mr * kept_stride;
  float* const packed_x = context.workspace->get<float>(x_floats + context.threads->size() * scratch);
  context.threads->parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
    micro.pack_direct(x + begin * nr, C, std::min(C, end * nr) - begin * nr, N, packed_x + begin * nr * steps,
                      nr * steps);
  });

  gemm::for_each_item(rows.count * columns.count, packed_x + x_floats, scratch, context,
                      [&](int64_t item, float* memory) {
                        const int64_t k0 = rows.begin(item % rows.count), k1 = rows.end(item % rows.count);
                        const int64_t p0 = columns.begin(item / rows.count), p1 = columns.end(item / rows.count);
                        if (k0 == k1 || p0 == p1) return;
                        int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
                        float* const packed_dy = memory + offset_floats;
                        float* const kept = packed_dy + dy_floats;
                        for (int64_t i = 0; i < micro.mr; ++i) offsets[i] = i * kept_stride;
                        micro.pack_columns(dy + k0, shape.K, N, k1 - k0, packed_dy);
                        const int64_t count = gemm::tile_count(k1 - k0, micro.mr);
                        gemm::Block block;
                        block.run = steps;
                        block.c_rows = offsets;
                        for (int64_t t = 0; t < count; ++t) {
                          const int64_t first = gemm::tile_begin(t, count, k1 - k0), at = (k0 + first) * C + p0 * nr;
                          block.rows = gemm::tile_begin(t + 1, count, k1 - k0) - first;
                          block.a = packed_dy + first * steps;
                          ParameterUpdate<float> part = update;
                          part.w += at;
                          part.n = std::min(C, p1 * nr) - p0 * nr;
                          if (part.s1 != nullptr) part.s1 += at;
                          if (part.s2 != nullptr) part.s2 += at;
                          if (part.rounded != nullptr) part.rounded += at;
                          NextWeights next(part, C, block.rows, p1 - p0);
                          for (int64_t p = p0; p < p1; ++p) {
                            next.fetch();
                            block.b = packed_x + p * nr * steps;
                            block.columns = std::min(nr, C - p * nr);
                            block.c = kept + (p - p0) * nr;
                            micro.multiply_columns(block);
                          }
                          tiles.update(rule, part, block.rows, C, kept, kept_stride);
                        }
                      });
}

}  // namespace striate::cpu
