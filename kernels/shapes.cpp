#include "kernels/shapes.h"

#include <string>

#include "kernels/error.h"

namespace striate {

namespace {
// The text of a shape is made for an error alone: check() stands before every kernel.
template <typename Shape, typename... Args>
void check_that(const Shape& shape, bool condition, fmt::format_string<std::string, const Args&...> format,
                const Args&... args) {
  if (!condition) throw ShapeError(fmt::format(format, shape.to_string(), args...));
}
}  // namespace

void Conv2dShape::check() const {
  check_that(*this, N >= 0 && H > 0 && W > 0 && C > 0 && K > 0 && R > 0 && S > 0,
             "{}: every size must be positive (the batch may be 0)");
  check_that(*this, stride_h > 0 && stride_w > 0 && dilation_h > 0 && dilation_w > 0,
             "{}: strides and dilations must be positive");
  check_that(*this, pad_h >= 0 && pad_w >= 0, "{}: padding must not be negative");
  check_that(*this, groups > 0 && C % groups == 0 && K % groups == 0,
             "{}: groups must divide the input channels ({}) and the output channels ({})", C, K);
  check_that(*this, dilation_h * (R - 1) + 1 <= H + 2 * pad_h && dilation_w * (S - 1) + 1 <= W + 2 * pad_w,
             "{}: the kernel is larger than the padded image ({}x{}); use a larger input or more padding",
             H + 2 * pad_h, W + 2 * pad_w);
}

std::string Conv2dShape::to_string() const {
  return fmt::format("conv2d x [{},{},{},{}], w [{},{},{},{}], stride {}x{}, padding {}x{}, dilation {}x{}, groups {}",
                     N, H, W, C, K, R, S, groups > 0 ? C / groups : 0, stride_h, stride_w, pad_h, pad_w, dilation_h,
                     dilation_w, groups);
}

void Pool2dShape::check() const {
  check_that(*this, N >= 0 && H > 0 && W > 0 && C > 0 && R > 0 && S > 0 && stride_h > 0 && stride_w > 0,
             "{}: every size must be positive (the batch may be 0)");
  check_that(*this, pad_h >= 0 && pad_w >= 0 && 2 * pad_h <= R && 2 * pad_w <= S,
             "{}: padding must lie between 0 and half the window");
  check_that(*this, R * S <= 255, "{}: a window may hold 255 pixels at most");
  check_that(*this, R <= H + 2 * pad_h && S <= W + 2 * pad_w,
             "{}: the window is larger than the padded image ({}x{}); use a larger input", H + 2 * pad_h,
             W + 2 * pad_w);
}

std::string Pool2dShape::to_string() const {
  return fmt::format("pool2d x [{},{},{},{}], window {}x{}, stride {}x{}, padding {}x{}", N, H, W, C, R, S, stride_h,
                     stride_w, pad_h, pad_w);
}

void AdaptivePool2dShape::check() const {
  check_that(*this, N >= 0 && H > 0 && W > 0 && C > 0 && P > 0 && Q > 0,
             "{}: every size must be positive (the batch may be 0)");
}

std::string AdaptivePool2dShape::to_string() const {
  return fmt::format("adaptive_avg_pool2d x [{},{},{},{}] to {}x{}", N, H, W, C, P, Q);
}

void LinearShape::check() const {
  check_that(*this, N >= 0 && C > 0 && K > 0, "{}: every size must be positive (the batch may be 0)");
}

std::string LinearShape::to_string() const { return fmt::format("linear x [{},{}], w [{},{}]", N, C, K, C); }

}  // namespace striate
