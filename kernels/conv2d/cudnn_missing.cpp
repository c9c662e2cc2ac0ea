// In place of cudnn.cpp in a build for GPUs without cuDNN, and in every build that is not for GPUs.
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"

namespace striate::cudnn {

std::string missing() {
  if (!gpu::built_for_gpu()) {
    return "this build is not for GPUs, which cuDNN needs: configure with preset cuda on a machine with the CUDA "
           "Toolkit and cuDNN";
  }
  return "cuDNN was not found, or not wanted (STRIATE_CUDNN), when this build was configured: install it (apt-get "
         "install nvidia-cudnn; of NVIDIA's repository: libcudnn9-dev-cuda-13) and configure again";
}

template <typename T>
void conv2d_forward(const T*, const T*, const Parameter<T>*, T*, const Conv2dShape&, Activation, Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

template <typename T>
void conv2d_backward_data(const T*, const T*, T*, const Conv2dShape&, Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

template <typename T>
void conv2d_backward_weight(const T*, const T*, Parameter<T>*, Parameter<T>*, const Conv2dShape&, Accumulate,
                            Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

template void conv2d_forward<float>(const float*, const float*, const float*, float*, const Conv2dShape&, Activation,
                                    Context&);
template void conv2d_backward_data<float>(const float*, const float*, float*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<float>(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate,
                                            Context&);
template void conv2d_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const Conv2dShape&,
                                       Activation, Context&);
template void conv2d_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const Conv2dShape&,
                                               Accumulate, Context&);

}  // namespace striate::cudnn
