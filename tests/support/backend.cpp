#include "tests/support/backend.h"

#include <cstdlib>

#include "kernels/gpu/device.h"

namespace striate::test {

namespace {

// Kernels return when they have run: a test body reads what they wrote with no word about streams. Set before the
// driver starts.
const int launch_blocking = setenv("CUDA_LAUNCH_BLOCKING", "1", 1);

}  // namespace

std::vector<Backend> backends() { return {Backend::cpu, Backend::cuda}; }

bool can_run(Backend backend) { return backend != Backend::cuda || (launch_blocking == 0 && gpu::available()); }

void skip_unless_runnable(Backend backend) {
  if (can_run(backend)) return;
  const char* required = std::getenv("STRIATE_REQUIRE_GPU");
  if (required && std::string(required) == "1") FAIL() << "STRIATE_REQUIRE_GPU=1, and there is no GPU here";
  GTEST_SKIP() << "no GPU here";
}

std::string to_string(Backend backend) { return backend == Backend::cuda ? "cuda" : "cpu"; }

void* VisibleWorkspace::reserve(size_t bytes) {
  // What the last kernel left here must not be what the next one needs.
  if (bytes > memory_.size()) memory_ = Values<unsigned char>(bytes, 0xFF);
  return memory_.data();
}

}  // namespace striate::test
