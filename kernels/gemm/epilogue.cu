// A sum over one share is the identity with bias and activation: the kernel of split_sum.cu, bound by reading and
// writing y once, every float by the thread that reads it.
#include "kernels/gemm/epilogue.h"

#include "kernels/gemm/split_sum.h"
#include "kernels/gemm/tile_launch.h"

namespace striate::cuda {

void finish_rows(float* y, const float* bias, Activation activation, int64_t rows, int64_t columns, Context& context) {
  if (rows == 0 || (!bias && activation == Activation::none)) return;
  tile::Output<float> out = tile::matrix_output(y, rows, columns);
  out.bias = bias;
  out.bias_quads = tile::in_wholes(bias, columns);
  out.activation = activation;
  tile::sum_shares(y, 1, 1, out, *context.stream);
}

void sum_rows(const float* x, float* sums, int64_t rows, int64_t columns, Accumulate accumulate, Context& context) {
  tile::sum_columns(x, sums, rows, columns, accumulate == Accumulate::yes, *context.workspace, *context.stream);
}

}  // namespace striate::cuda
