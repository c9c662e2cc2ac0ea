// The backward pass of the ReLU before the layer as a pass of its own: on these devices a product's tile is stored from
// many places, and dx is still in the caches.
#include "kernels/linear/linear.h"

namespace striate {

namespace reference {

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape,
                                       Context& context) {
  linear_backward_data(dy, w, dx, shape, context);
  activation_backward(Activation::relu, x, dx, dx, shape.N * shape.C, context);
}

template void linear_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const LinearShape&, Context&);
template void linear_backward_data_through_relu<double>(const double*, const double*, const double*, double*,
                                                        const LinearShape&, Context&);
template void linear_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const LinearShape&, Context&);

}  // namespace reference

namespace cpu {

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape,
                                       Context& context) {
  linear_backward_data(dy, w, dx, shape, context);
  activation_backward(Activation::relu, x, dx, dx, shape.N * shape.C, context);
}

template void linear_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const LinearShape&, Context&);
template void linear_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const LinearShape&, Context&);

}  // namespace cpu

}  // namespace striate
