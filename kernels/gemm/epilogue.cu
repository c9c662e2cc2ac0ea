// A sum over one share is the identity with bias and activation: the kernel of split_sum.cu, bound by reading and
// writing y once, every float by the thread that reads it.
#include "kernels/gemm/epilogue.h"

#include "kernels/gemm/split_sum.h"
#include "kernels/gemm/tile_launch.h"

namespace striate::cuda {

template <typename T>
void finish_rows(T* y, const float* bias, Activation activation, int64_t rows, int64_t columns, Context& context) {
  if (rows == 0 || (!bias && activation == Activation::none)) return;
  auto out = tile::matrix_output(y, rows, columns);
  out.bias = bias;
  out.bias_quads = tile::in_wholes(bias, columns);
  out.activation = activation;
  tile::sum_shares(y, 1, 1, out, *context.stream);
}

template <typename T>
void sum_rows(const T* x, float* sums, int64_t rows, int64_t columns, Accumulate accumulate, Context& context) {
  tile::sum_columns(x, sums, rows, columns, accumulate == Accumulate::yes, *context.workspace, *context.stream);
}

template void finish_rows(float*, const float*, Activation, int64_t, int64_t, Context&);
template void finish_rows(bfloat16*, const float*, Activation, int64_t, int64_t, Context&);
template void sum_rows(const float*, float*, int64_t, int64_t, Accumulate, Context&);
template void sum_rows(const bfloat16*, float*, int64_t, int64_t, Accumulate, Context&);

}  // namespace striate::cuda
