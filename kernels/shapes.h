#pragma once

#include <cstdint>
#include <string>

namespace striate {

/// Convolution of NHWC images, y [N,P,Q,K] = x [N,H,W,C] ∗ w [K,R,S,C/groups].
/// P = (H + 2·pad_h − dilation_h·(R − 1) − 1) / stride_h + 1, likewise Q: sizes in pixels, rounded down.
struct Conv2dShape {
  int64_t N = 0, H = 0, W = 0, C = 0;  ///< input; N may be 0
  int64_t K = 0, R = 0, S = 0;         ///< output channels and kernel size
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;  ///< zeros on each side
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  int64_t P() const { return (H + 2 * pad_h - dilation_h * (R - 1) - 1) / stride_h + 1; }
  int64_t Q() const { return (W + 2 * pad_w - dilation_w * (S - 1) - 1) / stride_w + 1; }
  int64_t group_channels() const { return C / groups; }      ///< input channels of a group
  int64_t group_kernels() const { return K / groups; }       ///< output channels of a group
  int64_t taps() const { return R * S * group_channels(); }  ///< products in one output value
  int64_t x_size() const { return N * H * W * C; }
  int64_t w_size() const { return K * R * S * group_channels(); }
  int64_t y_size() const { return N * P() * Q() * K; }
  int64_t macs() const { return y_size() * taps(); }  ///< multiply–accumulates of one forward

  /// Throws ShapeError unless every size is positive (N ≥ 0), the kernel fits into the padded image, and
  /// groups divides C and K.
  void check() const;
  std::string to_string() const;
  friend bool operator==(const Conv2dShape&, const Conv2dShape&) = default;
};

/// Pooling windows over NHWC images: x [N,H,W,C] → y [N,P,Q,C], sizes rounded down.
struct Pool2dShape {
  int64_t N = 0, H = 0, W = 0, C = 0;
  int64_t R = 0, S = 0;  ///< window
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  bool after_relu = false;  ///< max: takes the backward of a ReLU along whose output is x (kernels/pool2d/pool2d.h)

  int64_t P() const { return (H + 2 * pad_h - R) / stride_h + 1; }
  int64_t Q() const { return (W + 2 * pad_w - S) / stride_w + 1; }
  int64_t x_size() const { return N * H * W * C; }
  int64_t y_size() const { return N * P() * Q() * C; }

  /// Throws ShapeError unless the window fits, padding is at most half of it (so that no window holds
  /// padding alone), and R·S ≤ 255 (a max-pool index is one byte).
  void check() const;
  std::string to_string() const;
};

/// Average pooling to a given size: output cell (p,q) averages rows ⌊p·H/P⌋ … ⌈(p+1)·H/P⌉ − 1, columns likewise
/// (the windows of PyTorch's AdaptiveAvgPool2d).
struct AdaptivePool2dShape {
  int64_t N = 0, H = 0, W = 0, C = 0;
  int64_t P = 0, Q = 0;

  int64_t x_size() const { return N * H * W * C; }
  int64_t y_size() const { return N * P * Q * C; }
  void check() const;
  std::string to_string() const;
};

/// y [N,K] = x [N,C] · w [K,C]ᵀ.
struct LinearShape {
  int64_t N = 0, C = 0, K = 0;  ///< rows (may be 0), inputs, outputs

  int64_t macs() const { return N * C * K; }
  void check() const;
  std::string to_string() const;
};

}  // namespace striate
