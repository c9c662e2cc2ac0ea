// Value by value, straight from ColumnBlocksShape::place().
#include "kernels/bfloat16.h"
#include "kernels/column_blocks/column_blocks.h"

namespace striate::reference {

template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context&) {
  shape.check();
  for (int64_t n = 0; n < shape.N; ++n) {
    for (int64_t c = shape.begin(shape.first); c < shape.begin(shape.last); ++c) {
      blocks[shape.place(n, c)] = x[n * shape.K + c];
    }
  }
}

template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context&) {
  shape.check();
  for (int64_t n = 0; n < shape.N; ++n) {
    for (int64_t c = shape.begin(shape.first); c < shape.begin(shape.last); ++c) {
      y[n * shape.K + c] = blocks[shape.place(n, c)];
    }
  }
}

#define STRIATE_INSTANTIATE(T)                                                          \
  template void columns_to_blocks<T>(const T*, T*, const ColumnBlocksShape&, Context&); \
  template void blocks_to_columns<T>(const T*, T*, const ColumnBlocksShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
