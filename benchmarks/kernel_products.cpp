// The matrix products among the cases: convolutions and linear layers, of float32 and of bfloat16 in memory.
#include "benchmarks/device_values.h"
#include "benchmarks/kernel_cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"

namespace striate::bench {

namespace {

using Floats = DeviceValues<float>;

// The sum over shares that comes with a product reads the bias, too.
constexpr double kReads = 2.0;

template <typename T>
double bytes(int64_t values) {
  return static_cast<double>(values) * sizeof(T);
}

}  // namespace

template <typename T>
KernelCase convolution(const std::string& name, const Conv2dShape& s, Pass pass) {
  // With 3 channels a window's row of taps is 132 bytes that begin anywhere: it touches a sector more than it fills.
  constexpr int64_t kSector = 32 / sizeof(T);
  const bool whole = s.group_channels() % kSector == 0 && s.group_kernels() % kSector == 0;
  switch (pass) {
    case Pass::forward:
      return {name + " forward",
              [s](Context& context) {
                DeviceValues<T> x(s.x_size()), w(s.w_size()), y(s.y_size());
                Floats b(s.K);
                cuda::conv2d_forward<T>(x, w, b, y, s, Activation::relu, context);
              },
              s.macs(),
              kReads,
              bytes<T>(s.x_size() + s.w_size()) + bytes<float>(s.K),
              bytes<T>(s.y_size()),
              whole};
    case Pass::backward_data:
      return {name + " backward data",
              [s](Context& context) {
                DeviceValues<T> dy(s.y_size()), w(s.w_size()), dx(s.x_size());
                cuda::conv2d_backward_data<T>(dy, w, dx, s, context);
              },
              s.macs(),
              kReads,
              bytes<T>(s.y_size() + s.w_size()),
              bytes<T>(s.x_size()),
              whole};
    case Pass::backward_weight:
      break;
  }
  return {name + " backward weight",
          [s](Context& context) {
            DeviceValues<T> x(s.x_size()), dy(s.y_size());
            Floats dw(s.w_size()), db(s.K);
            cuda::conv2d_backward_weight<T>(x, dy, dw, db, s, Accumulate::no, context);
          },
          s.macs(),
          kReads,
          bytes<T>(s.x_size() + s.y_size()),
          bytes<float>(s.w_size() + s.K),
          whole};
}

template <typename T>
KernelCase linear(const std::string& name, const LinearShape& s, Pass pass) {
  switch (pass) {
    case Pass::forward:
      return {name + " forward",
              [s](Context& context) {
                DeviceValues<T> x(s.N * s.C), w(s.K * s.C), y(s.N * s.K);
                Floats b(s.K);
                cuda::linear_forward<T>(x, w, b, y, s, Activation::relu, context);
              },
              s.macs(),
              kReads,
              bytes<T>(s.N * s.C + s.K * s.C) + bytes<float>(s.K),
              bytes<T>(s.N * s.K)};
    case Pass::backward_data:
      return {name + " backward data",
              [s](Context& context) {
                DeviceValues<T> dy(s.N * s.K), w(s.K * s.C), dx(s.N * s.C);
                cuda::linear_backward_data<T>(dy, w, dx, s, context);
              },
              s.macs(),
              kReads,
              bytes<T>(s.N * s.K + s.K * s.C),
              bytes<T>(s.N * s.C)};
    case Pass::backward_weight:
      break;
  }
  return {name + " backward weight",
          [s](Context& context) {
            DeviceValues<T> x(s.N * s.C), dy(s.N * s.K);
            Floats dw(s.K * s.C), db(s.K);
            cuda::linear_backward_weight<T>(x, dy, dw, db, s, Accumulate::no, context);
          },
          s.macs(),
          kReads,
          bytes<T>(s.N * s.C + s.N * s.K),
          bytes<float>(s.K * s.C + s.K)};
}

template KernelCase convolution<float>(const std::string&, const Conv2dShape&, Pass);
template KernelCase convolution<bfloat16>(const std::string&, const Conv2dShape&, Pass);
template KernelCase linear<float>(const std::string&, const LinearShape&, Pass);
template KernelCase linear<bfloat16>(const std::string&, const LinearShape&, Pass);

}  // namespace striate::bench
