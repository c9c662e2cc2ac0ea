#include "kernels/gpu/device.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include "kernels/gpu/check.h"

namespace striate::gpu {

bool built_for_gpu() { return true; }

bool available() {
  int count = 0;
  const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  if (!found) cudaGetLastError();
  return found;
}

const DeviceProperties& properties() {
  static const DeviceProperties result = [] {
    int device = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    cudaDeviceProp p;
    CUDA_CHECK(cudaGetDeviceProperties(&p, device));
    return DeviceProperties{p.name,
                            p.major * 10 + p.minor,
                            p.multiProcessorCount,
                            p.sharedMemPerBlockOptin,
                            p.sharedMemPerMultiprocessor,
                            p.totalGlobalMem};
  }();
  return result;
}

std::string bus_id() {
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  char text[32] = "";
  CUDA_CHECK(cudaDeviceGetPCIBusId(text, sizeof(text), device));
  return text;
}

std::string versions() {
  int runtime = 0, driver = 0;
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  const auto text = [](int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  };
  return "CUDA " + text(runtime) + ", driver for " + text(driver);
}

}  // namespace striate::gpu

#else

namespace striate::gpu {

bool built_for_gpu() { return false; }
bool available() { return true; }
std::string bus_id() { return ""; }
std::string versions() { return ""; }

const DeviceProperties& properties() {
  // NVIDIA A100 Tensor Core GPU Architecture, table 4; CUDA C++ Programming Guide, technical specifications of 8.0.
  static const DeviceProperties result{
      "host execution of CUDA kernels", 80, 108, 163 * 1024, 164 * 1024, size_t{40} << 30};
  return result;
}

}  // namespace striate::gpu

#endif
