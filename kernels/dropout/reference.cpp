// Every element's draw by itself, straight from dropout_uniform().
#include "kernels/dropout/dropout.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {
template <typename T>
void apply_mask(const T* x, T* y, const DropoutShape& shape, const DropoutState& state) {
  shape.check();
  for (int64_t row = 0; row < shape.N; ++row) {
    for (int64_t column = 0; column < shape.features; ++column) {
      const int64_t i = row * shape.features + column;
      const uint64_t element = shape.first_element(state) + static_cast<uint64_t>(i);
      const bool kept = dropout_uniform(state, shape.layer, element) >= shape.p;
      y[i] = kept ? rounded_to<T>(value_of(x[i]) / (1.0 - double{shape.p})) : T{};
    }
  }
}
}  // namespace

template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context&) {
  apply_mask(x, y, shape, *state);
}

template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context&) {
  apply_mask(dy, dx, shape, *state);
}

template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context&) {
  shape.check();
  for (int64_t i = 0; i < shape.size(); ++i) {
    dx[i] = value_of(y[i]) <= 0.0 ? T{} : rounded_to<T>(value_of(dy[i]) / (1.0 - double{shape.p}));
  }
}

#define STRIATE_INSTANTIATE(T)                                                                      \
  template void dropout_forward(const T*, T*, const DropoutShape&, const DropoutState*, Context&);  \
  template void dropout_backward(const T*, T*, const DropoutShape&, const DropoutState*, Context&); \
  template void relu_dropout_backward(const T*, const T*, T*, const DropoutShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
