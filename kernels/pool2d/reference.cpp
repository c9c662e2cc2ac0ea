// Pooling as the contract says it, one window at a time. The backward scatters into double sums.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/pool2d/pool2d.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {
// Calls fn(n, p, q) for every output pixel.
template <typename Shape, typename Fn>
void for_each_output(const Shape& shape, int64_t P, int64_t Q, Fn&& fn) {
  for (int64_t n = 0; n < shape.N; ++n) {
    for (int64_t p = 0; p < P; ++p) {
      for (int64_t q = 0; q < Q; ++q) fn(n, p, q);
    }
  }
}

// Calls fn(offset of pixel (h,w) in x, r·S + s) for the pixels of window (p,q) that lie inside the image, in row order.
template <typename Fn>
void for_each_pixel(const Pool2dShape& shape, int64_t n, int64_t p, int64_t q, Fn&& fn) {
  for (int64_t r = 0; r < shape.R; ++r) {
    for (int64_t s = 0; s < shape.S; ++s) {
      const int64_t h = p * shape.stride_h - shape.pad_h + r;
      const int64_t w = q * shape.stride_w - shape.pad_w + s;
      if (h < 0 || h >= shape.H || w < 0 || w >= shape.W) continue;
      fn(((n * shape.H + h) * shape.W + w) * shape.C, r * shape.S + s);
    }
  }
}

// The same for cell (p,q) of an adaptive pool; fn(offset, pixels in the cell).
template <typename Fn>
void for_each_pixel(const AdaptivePool2dShape& shape, int64_t n, int64_t p, int64_t q, Fn&& fn) {
  const int64_t h_begin = p * shape.H / shape.P, h_end = ((p + 1) * shape.H + shape.P - 1) / shape.P;
  const int64_t w_begin = q * shape.W / shape.Q, w_end = ((q + 1) * shape.W + shape.Q - 1) / shape.Q;
  for (int64_t h = h_begin; h < h_end; ++h) {
    for (int64_t w = w_begin; w < w_end; ++w) {
      fn(((n * shape.H + h) * shape.W + w) * shape.C, (h_end - h_begin) * (w_end - w_begin));
    }
  }
}
}  // namespace

template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context&) {
  shape.check();
  for_each_output(shape, shape.P(), shape.Q(), [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P() + p) * shape.Q() + q) * shape.C;
    for (int64_t c = 0; c < shape.C; ++c) {
      bool first = true;
      double best = 0.0;
      for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t position) {
        const double value = value_of(x[offset + c]);
        if (first || value > best || (std::isnan(value) && !std::isnan(best))) {
          best = value;
          y[out + c] = x[offset + c];
          index[out + c] = static_cast<uint8_t>(position);
        }
        first = false;
      });
      if (shape.after_relu && best <= 0.0) index[out + c] = kNoPixel;
    }
  });
}

template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context&) {
  shape.check();
  std::vector<double> sums(static_cast<size_t>(shape.x_size()), 0.0);
  for_each_output(shape, shape.P(), shape.Q(), [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P() + p) * shape.Q() + q) * shape.C;
    for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t position) {
      for (int64_t c = 0; c < shape.C; ++c) {
        if (index[out + c] == position) sums[static_cast<size_t>(offset + c)] += value_of(dy[out + c]);
      }
    });
  });
  std::transform(sums.begin(), sums.end(), dx, rounded_to<T>);
}

template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context&) {
  shape.check();
  for_each_output(shape, shape.P(), shape.Q(), [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P() + p) * shape.Q() + q) * shape.C;
    for (int64_t c = 0; c < shape.C; ++c) {
      double sum = 0.0;
      for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t) { sum += value_of(x[offset + c]); });
      y[out + c] = rounded_to<T>(sum / static_cast<double>(shape.R * shape.S));
    }
  });
}

template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context&) {
  shape.check();
  std::vector<double> sums(static_cast<size_t>(shape.x_size()), 0.0);
  for_each_output(shape, shape.P(), shape.Q(), [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P() + p) * shape.Q() + q) * shape.C;
    for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t) {
      for (int64_t c = 0; c < shape.C; ++c) {
        sums[static_cast<size_t>(offset + c)] += value_of(dy[out + c]) / static_cast<double>(shape.R * shape.S);
      }
    });
  });
  std::transform(sums.begin(), sums.end(), dx, rounded_to<T>);
}

template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context&) {
  shape.check();
  for_each_output(shape, shape.P, shape.Q, [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P + p) * shape.Q + q) * shape.C;
    for (int64_t c = 0; c < shape.C; ++c) {
      double sum = 0.0;
      for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t pixels) {
        sum += value_of(x[offset + c]) / static_cast<double>(pixels);
      });
      y[out + c] = rounded_to<T>(sum);
    }
  });
}

template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context&) {
  shape.check();
  std::vector<double> sums(static_cast<size_t>(shape.x_size()), 0.0);
  for_each_output(shape, shape.P, shape.Q, [&](int64_t n, int64_t p, int64_t q) {
    const int64_t out = ((n * shape.P + p) * shape.Q + q) * shape.C;
    for_each_pixel(shape, n, p, q, [&](int64_t offset, int64_t pixels) {
      for (int64_t c = 0; c < shape.C; ++c) {
        sums[static_cast<size_t>(offset + c)] += value_of(dy[out + c]) / static_cast<double>(pixels);
      }
    });
  });
  std::transform(sums.begin(), sums.end(), dx, rounded_to<T>);
}

#define STRIATE_INSTANTIATE(T)                                                                   \
  template void max_pool2d_forward(const T*, T*, uint8_t*, const Pool2dShape&, Context&);        \
  template void max_pool2d_backward(const T*, const uint8_t*, T*, const Pool2dShape&, Context&); \
  template void avg_pool2d_forward(const T*, T*, const Pool2dShape&, Context&);                  \
  template void avg_pool2d_backward(const T*, T*, const Pool2dShape&, Context&);                 \
  template void adaptive_avg_pool2d_forward(const T*, T*, const AdaptivePool2dShape&, Context&); \
  template void adaptive_avg_pool2d_backward(const T*, T*, const AdaptivePool2dShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
