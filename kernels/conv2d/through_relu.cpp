// The backward pass of the ReLU before the layer as a pass of its own: on these devices a product's tile is stored from
// many places, and dx is still in the caches.
#include "kernels/conv2d/conv2d.h"

namespace striate {

namespace reference {

template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context) {
  conv2d_backward_data(dy, w, dx, shape, context);
  activation_backward(Activation::relu, x, dx, dx, shape.x_size(), context);
}

template void conv2d_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const Conv2dShape&, Context&);
template void conv2d_backward_data_through_relu<double>(const double*, const double*, const double*, double*,
                                                        const Conv2dShape&, Context&);
template void conv2d_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const Conv2dShape&, Context&);

}  // namespace reference

namespace cpu {

template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context) {
  conv2d_backward_data(dy, w, dx, shape, context);
  activation_backward(Activation::relu, x, dx, dx, shape.x_size(), context);
}

template void conv2d_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const Conv2dShape&, Context&);
template void conv2d_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const Conv2dShape&, Context&);

}  // namespace cpu

}  // namespace striate
