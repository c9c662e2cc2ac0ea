// What cuda does as it stores a product, on cpu as passes of their own: a product's tile is stored from many places
// there, and what it stored is still in the caches.
#include "kernels/linear/linear.h"

namespace striate::cpu {

template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context) {
  linear_forward(x, w, b, y, shape, activation, context);
  if (dropout.p != 0.0f) dropout_forward(y, y, dropout.shape(shape.N, shape.K), dropout.state, context);
}

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context) {
  linear_backward_data(dy, w, dx, shape, context);
  relu_dropout_backward(x, dx, dx, DropoutShape{shape.N, shape.C, p}, context);
}

#define STRIATE_INSTANTIATE(T)                                                                                    \
  template void linear_forward_dropout<T>(const T*, const T*, const float*, T*, const LinearShape&, Activation,   \
                                          const DropoutBehind&, Context&);                                        \
  template void linear_backward_data_through_relu<T>(const T*, const T*, const T*, T*, const LinearShape&, float, \
                                                     Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
