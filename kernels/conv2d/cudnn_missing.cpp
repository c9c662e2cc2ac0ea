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

void conv2d_forward(const float*, const float*, const float*, float*, const Conv2dShape&, Activation, Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

void conv2d_backward_data(const float*, const float*, float*, const Conv2dShape&, Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

void conv2d_backward_weight(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate, Context&) {
  throw ConfigError("conv2d by cudnn: " + missing());
}

}  // namespace striate::cudnn
