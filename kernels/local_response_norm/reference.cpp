// Per pixel and channel, in double: the window's sum, its power, and for the gradient every window a channel lies in.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {
template <typename T>
double scale_of(const T* row, int64_t c, const LocalResponseNormShape& shape) {
  const int64_t begin = std::max<int64_t>(0, c - shape.size / 2);
  const int64_t end = std::min<int64_t>(shape.C, c + (shape.size - 1) / 2 + 1);
  double sum = 0.0;
  for (int64_t i = begin; i < end; ++i) sum += value_of(row[i]) * value_of(row[i]);
  return double{shape.k} + double{shape.scale_alpha()} * sum;
}
}  // namespace

template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context&) {
  shape.check();
  for (int64_t i = 0; i < shape.rows; ++i) {
    const T* row = x + i * shape.C;
    for (int64_t c = 0; c < shape.C; ++c) {
      y[i * shape.C + c] = rounded_to<T>(value_of(row[c]) * std::pow(scale_of(row, c, shape), -double{shape.beta}));
    }
  }
}

template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape, Context&) {
  shape.check();
  const double beta = shape.beta;
  std::vector<double> sums(static_cast<size_t>(shape.C));
  for (int64_t i = 0; i < shape.rows; ++i) {
    const T* row = x + i * shape.C;
    const T* drow = dy + i * shape.C;
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t c = 0; c < shape.C; ++c) {
      const double s = scale_of(row, c, shape), gradient = value_of(drow[c]);
      sums[static_cast<size_t>(c)] += gradient * std::pow(s, -beta);
      const int64_t begin = std::max<int64_t>(0, c - shape.size / 2);
      const int64_t end = std::min<int64_t>(shape.C, c + (shape.size - 1) / 2 + 1);
      for (int64_t j = begin; j < end; ++j) {
        sums[static_cast<size_t>(j)] -= gradient * value_of(row[c]) * beta * std::pow(s, -beta - 1.0) * 2.0 *
                                        double{shape.scale_alpha()} * value_of(row[j]);
      }
    }
    std::transform(sums.begin(), sums.end(), dx + i * shape.C, rounded_to<T>);
  }
}

#define STRIATE_INSTANTIATE(T)                                                                      \
  template void local_response_norm_forward(const T*, T*, const LocalResponseNormShape&, Context&); \
  template void local_response_norm_backward(const T*, const T*, T*, const LocalResponseNormShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
