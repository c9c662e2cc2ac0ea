// Per pixel and channel, in double: the window's sum, its power, and for the gradient every window a channel lies in.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/local_response_norm/local_response_norm.h"

namespace striate::reference {

namespace {
template <typename T>
double scale_of(const T* row, int64_t c, const LocalResponseNormShape& shape) {
  const int64_t begin = std::max<int64_t>(0, c - shape.size / 2);
  const int64_t end = std::min<int64_t>(shape.C, c + (shape.size - 1) / 2 + 1);
  double sum = 0.0;
  for (int64_t i = begin; i < end; ++i) sum += double{row[i]} * double{row[i]};
  return double{shape.k} + double{shape.scale_alpha()} * sum;
}
}  // namespace

template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context&) {
  shape.check();
  for (int64_t i = 0; i < shape.rows; ++i) {
    const T* row = x + i * shape.C;
    for (int64_t c = 0; c < shape.C; ++c) {
      y[i * shape.C + c] = static_cast<T>(row[c] * std::pow(scale_of(row, c, shape), -double{shape.beta}));
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
      const double s = scale_of(row, c, shape);
      sums[static_cast<size_t>(c)] += drow[c] * std::pow(s, -beta);
      const int64_t begin = std::max<int64_t>(0, c - shape.size / 2);
      const int64_t end = std::min<int64_t>(shape.C, c + (shape.size - 1) / 2 + 1);
      for (int64_t j = begin; j < end; ++j) {
        sums[static_cast<size_t>(j)] -=
            drow[c] * row[c] * beta * std::pow(s, -beta - 1.0) * 2.0 * double{shape.scale_alpha()} * row[j];
      }
    }
    std::copy(sums.begin(), sums.end(), dx + i * shape.C);
  }
}

template void local_response_norm_forward(const float*, float*, const LocalResponseNormShape&, Context&);
template void local_response_norm_forward(const double*, double*, const LocalResponseNormShape&, Context&);
template void local_response_norm_backward(const float*, const float*, float*, const LocalResponseNormShape&, Context&);
template void local_response_norm_backward(const double*, const double*, double*, const LocalResponseNormShape&,
                                           Context&);

}  // namespace striate::reference
