// A copy, in units of 16 bytes where every part begins at a multiple of that, else a value at a time. A thread moves
// one unit after another, in the order of the matrix: its side is read or written in whole sectors, and so are the
// blocks of parts that begin at a sector. Others take more, as their rows' pieces begin in the middle of one: 1.18 x
// for 1001 columns in 3 parts, 1.42 x in bfloat16. Bound by memory; some 30 instructions a unit for the place.
#include <algorithm>

#include "kernels/bfloat16.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

template <typename Unit, bool kToBlocks>
__global__ void __launch_bounds__(gpu::kMapThreads)
    column_blocks_kernel(const Unit* from, Unit* to, ColumnBlocksShape shape) {
  const int64_t columns = shape.columns(), n = shape.size(), begin = shape.begin(shape.first);
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const int64_t row = i / columns, column = begin + i % columns;
    const int64_t of_matrix = row * shape.K + column, of_blocks = shape.place(row, column);
    if constexpr (kToBlocks) {
      to[of_blocks] = from[of_matrix];
    } else {
      to[of_matrix] = from[of_blocks];
    }
  }
}

template <bool kToBlocks, typename Unit>
void launch_units(const Unit* from, Unit* to, const ColumnBlocksShape& shape, Context& context) {
  gpu::launch(column_blocks_kernel<Unit, kToBlocks>, gpu::map_blocks<float>(shape.size(), false), gpu::kMapThreads, 0,
              *context.stream, from, to, shape);
}

template <bool kToBlocks, typename T>
void copy(const T* from, T* to, const ColumnBlocksShape& shape, Context& context) {
  shape.check();
  if (shape.size() == 0) return;
  constexpr int64_t kWidth = 16 / static_cast<int64_t>(sizeof(T));
  if (shape.K % (shape.parts * kWidth) == 0 && gpu::aligned_16(from, to)) {
    ColumnBlocksShape units = shape;
    units.K /= kWidth;
    launch_units<kToBlocks>(reinterpret_cast<const uint4*>(from), reinterpret_cast<uint4*>(to), units, context);
  } else {
    launch_units<kToBlocks>(from, to, shape, context);
  }
}

}  // namespace

template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context& context) {
  copy<true>(x, blocks, shape, context);
}

template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context& context) {
  copy<false>(blocks, y, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                          \
  template void columns_to_blocks<T>(const T*, T*, const ColumnBlocksShape&, Context&); \
  template void blocks_to_columns<T>(const T*, T*, const ColumnBlocksShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
