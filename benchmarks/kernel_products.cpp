// The matrix products among the cases: convolutions and linear layers.
#include "benchmarks/device_values.h"
#include "benchmarks/kernel_cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"

namespace striate::bench {

namespace {

using Floats = DeviceValues<float>;

// The sums over shares and over pixels that come with a product read the bias, too.
constexpr double kReads = 2.0;

double bytes(int64_t floats) { return 4.0 * static_cast<double>(floats); }

}  // namespace

KernelCase convolution(const std::string& name, const Conv2dShape& s, Pass pass) {
  // With 3 channels a window's row of taps is 132 bytes that begin anywhere: it touches a sector more than it fills.
  const bool whole = s.group_channels() % 8 == 0 && s.group_kernels() % 8 == 0;
  switch (pass) {
    case Pass::forward:
      return {name + " forward",
              [s](Context& context) {
                Floats x(s.x_size()), w(s.w_size()), b(s.K), y(s.y_size());
                cuda::conv2d_forward(x, w, b, y, s, Activation::relu, context);
              },
              s.macs(),
              kReads,
              bytes(s.x_size() + s.w_size() + s.K),
              bytes(s.y_size()),
              whole};
    case Pass::backward_data:
      return {name + " backward data",
              [s](Context& context) {
                Floats dy(s.y_size()), w(s.w_size()), dx(s.x_size());
                cuda::conv2d_backward_data(dy, w, dx, s, context);
              },
              s.macs(),
              kReads,
              bytes(s.y_size() + s.w_size()),
              bytes(s.x_size()),
              whole};
    case Pass::backward_weight:
      break;
  }
  return {name + " backward weight",
          [s](Context& context) {
            Floats x(s.x_size()), dy(s.y_size()), dw(s.w_size()), db(s.K);
            cuda::conv2d_backward_weight(x, dy, dw, db, s, Accumulate::no, context);
          },
          s.macs(),
          kReads,
          bytes(s.x_size() + s.y_size()),
          bytes(s.w_size() + s.K),
          whole};
}

KernelCase linear(const std::string& name, const LinearShape& s, Pass pass) {
  switch (pass) {
    case Pass::forward:
      return {name + " forward",
              [s](Context& context) {
                Floats x(s.N * s.C), w(s.K * s.C), b(s.K), y(s.N * s.K);
                cuda::linear_forward(x, w, b, y, s, Activation::relu, context);
              },
              s.macs(),
              kReads,
              bytes(s.N * s.C + s.K * s.C + s.K),
              bytes(s.N * s.K)};
    case Pass::backward_data:
      return {name + " backward data",
              [s](Context& context) {
                Floats dy(s.N * s.K), w(s.K * s.C), dx(s.N * s.C);
                cuda::linear_backward_data(dy, w, dx, s, context);
              },
              s.macs(),
              kReads,
              bytes(s.N * s.K + s.K * s.C),
              bytes(s.N * s.C)};
    case Pass::backward_weight:
      break;
  }
  return {name + " backward weight",
          [s](Context& context) {
            Floats x(s.N * s.C), dy(s.N * s.K), dw(s.K * s.C), db(s.K);
            cuda::linear_backward_weight(x, dy, dw, db, s, Accumulate::no, context);
          },
          s.macs(),
          kReads,
          bytes(s.N * s.C + s.N * s.K),
          bytes(s.K * s.C + s.K)};
}

}  // namespace striate::bench
