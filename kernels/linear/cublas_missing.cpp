// In place of cublas.cpp in a build for GPUs without cuBLAS.
#include "kernels/error.h"
#include "kernels/linear/linear.h"

namespace striate::cublas {

std::string missing() {
  return "cuBLAS was not found, or not wanted (STRIATE_CUBLAS), when this build was configured: install it "
         "(apt-get install libcublas-dev; of NVIDIA's repository: libcublas-dev-13-0) and configure again";
}

void linear_forward(const float*, const float*, const float*, float*, const LinearShape&, Activation, Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

void linear_backward_data(const float*, const float*, float*, const LinearShape&, Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

void linear_backward_weight(const float*, const float*, float*, float*, const LinearShape&, Accumulate, Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

}  // namespace striate::cublas
