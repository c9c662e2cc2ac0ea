// A row's columns of one part are a copy in one piece. Bound by memory.
#include <algorithm>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/thread_pool.h"

namespace striate::cpu {

namespace {
/// copy(of the matrix, of the blocks, bytes) for every row of every part.
template <typename T, typename Copy>
void for_each_piece(const ColumnBlocksShape& shape, Context& context, Copy&& copy) {
  shape.check();
  if (shape.size() == 0) return;
  constexpr int64_t kGrain = 16384;  // values that are worth waking a thread for
  const int64_t rows = std::max<int64_t>(1, kGrain / shape.columns());
  context.threads->parallel_for(shape.N, rows, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t part = shape.first; part < shape.last; ++part) {
        const int64_t columns = shape.columns(part), c = shape.begin(part);
        if (columns > 0) copy(n * shape.K + c, shape.place(n, c), static_cast<size_t>(columns) * sizeof(T));
      }
    }
  });
}
}  // namespace

template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context& context) {
  for_each_piece<T>(shape, context, [=](int64_t of_matrix, int64_t of_blocks, size_t bytes) {
    std::memcpy(blocks + of_blocks, x + of_matrix, bytes);
  });
}

template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context& context) {
  for_each_piece<T>(shape, context, [=](int64_t of_matrix, int64_t of_blocks, size_t bytes) {
    std::memcpy(y + of_matrix, blocks + of_blocks, bytes);
  });
}

#define STRIATE_INSTANTIATE(T)                                                          \
  template void columns_to_blocks<T>(const T*, T*, const ColumnBlocksShape&, Context&); \
  template void blocks_to_columns<T>(const T*, T*, const ColumnBlocksShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
