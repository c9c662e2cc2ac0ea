#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/philox.h"

namespace striate {

/// What a dropout mask hangs on besides layer and element. It lives in the device's memory, so that a recorded sequence
/// of kernels can be replayed for another step.
struct DropoutState {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t first_sample = 0;  ///< index of row 0 in the step's whole batch (accumulation, many ranks)
};

/// x [N, features]; `layer` numbers the dropout layers of a network.
struct DropoutShape {
  int64_t N = 0, features = 0;
  float p = 0.5f;  ///< probability of zero, in [0, 1)
  uint32_t layer = 0;
  int64_t first_row = 0;  ///< index of row 0 counted from the state's first sample; may be negative

  int64_t size() const { return N * features; }
  /// What is kept is multiplied by 1 / (1 − p), rounded once. 1 where p is 0.
  float scale() const { return static_cast<float>(1.0 / (1.0 - double{p})); }
  /// The number of x[0] among the elements that are drawn for.
  constexpr uint64_t first_element(const DropoutState& state) const {
    return (state.first_sample + static_cast<uint64_t>(first_row)) * static_cast<uint64_t>(features);
  }
  /// Throws ShapeError unless N ≥ 0, features > 0 and 0 ≤ p < 1.
  void check() const;
};

/// Dropout of an op's results [N, features] before it stores them: by DropoutShape{N, features, p, layer}.
struct DropoutBehind {
  float p = 0.0f;
  uint32_t layer = 0;
  const DropoutState* state = nullptr;  ///< in the device's memory

  DropoutShape shape(int64_t N, int64_t features) const { return {N, features, p, layer}; }
};

/// The draw for element e = (first_sample + first_row + row)·features + column of a layer in [0, 1): word e mod 4 of
/// philox4x32({e/4 low, e/4 high, step low, layer}, {seed low, seed high ⊕ step high}). The element is dropped where
/// the draw is below p.
constexpr float dropout_uniform(const DropoutState& state, uint32_t layer, uint64_t element) {
  const uint64_t block = element / 4;
  const auto words = philox4x32(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(state.step), layer},
      {static_cast<uint32_t>(state.seed),
       static_cast<uint32_t>(state.seed >> 32) ^ static_cast<uint32_t>(state.step >> 32)});
  return uniform_from_word(words[element % 4]);
}

// forward:  y = kept ? x / (1 − p) : 0 (inverted dropout; Srivastava et al. 2014). y may be x.
// backward: dx = kept ? dy / (1 − p) : 0, the mask drawn again from `state`, never stored. dx may be dy; overwritten.
// The same mask on every device, bit for bit, for any number of threads.
// relu_dropout_backward: dx = y ≤ 0 ? 0 : dy / (1 − p), the backward of a ReLU and the dropout behind it from what came
//           out of both, which is positive (or NaN) exactly where both let a value through. dx may be dy; overwritten.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context& context);
template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context);
}  // namespace cuda

}  // namespace striate
