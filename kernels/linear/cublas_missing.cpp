// In place of cublas.cpp in a build for GPUs without cuBLAS.
#include "kernels/error.h"
#include "kernels/linear/linear.h"

namespace striate::cublas {

std::string missing() {
  return "cuBLAS was not found, or not wanted (STRIATE_CUBLAS), when this build was configured: install it "
         "(apt-get install libcublas-dev; of NVIDIA's repository: libcublas-dev-13-0) and configure again";
}

template <typename T>
void linear_forward(const T*, const T*, const Parameter<T>*, T*, const LinearShape&, Activation, Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

template <typename T>
void linear_backward_data(const T*, const T*, T*, const LinearShape&, Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

template <typename T>
void linear_backward_weight(const T*, const T*, Parameter<T>*, Parameter<T>*, const LinearShape&, Accumulate,
                            Context&) {
  throw ConfigError("linear by cublas: " + missing());
}

template void linear_forward<float>(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                    Context&);
template void linear_backward_data<float>(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);
template void linear_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                       Activation, Context&);
template void linear_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const LinearShape&, Context&);
template void linear_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const LinearShape&,
                                               Accumulate, Context&);

}  // namespace striate::cublas
