#include "tests/support/backend.h"

#include <cstdlib>

#include "kernels/conv2d/conv2d.h"
#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"

namespace striate::test {

namespace {

// Kernels return when they have run: a test body reads what they wrote with no word about streams. Set before the
// driver starts.
const int launch_blocking = setenv("CUDA_LAUNCH_BLOCKING", "1", 1);

}  // namespace

std::vector<Backend> backends() { return {Backend::cpu, Backend::cuda}; }

std::vector<Backend> backends_and(Backend library) {
  std::vector<Backend> all = backends();
  if ((library == Backend::cublas ? cublas::missing() : cudnn::missing()).empty()) all.push_back(library);
  return all;
}

bool can_run(Backend backend) { return backend == Backend::cpu || (launch_blocking == 0 && gpu::available()); }

void skip_unless_runnable(Backend backend) {
  if (can_run(backend)) return;
  const char* required = std::getenv("STRIATE_REQUIRE_GPU");
  if (required && std::string(required) == "1") FAIL() << "STRIATE_REQUIRE_GPU=1, and there is no GPU here";
  GTEST_SKIP() << "no GPU here";
}

std::string to_string(Backend backend) {
  switch (backend) {
    case Backend::cpu:
      return "cpu";
    case Backend::cuda:
      return "cuda";
    case Backend::cublas:
      return "cublas";
    case Backend::cudnn:
      return "cudnn";
  }
  return "?";
}

void* VisibleWorkspace::reserve(size_t bytes) {
  // What the last kernel left here must not be what the next one needs.
  if (bytes > memory_.size()) memory_ = Values<unsigned char>(bytes, 0xFF);
  return memory_.data();
}

}  // namespace striate::test
