#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/context.h"
#include "kernels/gpu/stream.h"
#include "tests/support/visible_memory.h"

namespace striate::test {

/// The devices whose kernels are checked against the reference, and the vendor's libraries, for the ops that have such
/// a fallback. A test body never names one: it looks the op's functions up in a BackendTable.
enum class Backend { cpu, cuda, cublas, cudnn };

/// Every device this build has: the CUDA kernels run on the GPU in a cuda build, on the host in any other. Without a
/// GPU a cuda build runs none of them: see BackendTest.
std::vector<Backend> backends();
/// The same, and a library where this build has it.
std::vector<Backend> backends_and(Backend library);
std::string to_string(Backend backend);

/// One op's functions (a struct of function pointers) on each backend.
template <typename Functions>
struct BackendTable {
  Functions cpu;
  Functions cuda{}, cublas{}, cudnn{};

  const Functions& operator[](Backend backend) const {
    switch (backend) {
      case Backend::cpu:
        return cpu;
      case Backend::cuda:
        return cuda;
      case Backend::cublas:
        return cublas;
      case Backend::cudnn:
        return cudnn;
    }
    return cpu;
  }
};

/// Whether this machine can run the backend's kernels.
bool can_run(Backend backend);

/// For SetUp(): where the GPU that a test needs is missing it says SKIPPED, or fails where STRIATE_REQUIRE_GPU=1.
void skip_unless_runnable(Backend backend);

/// A suite over backends (Parameter: Backend or OnBackend<Case>).
template <typename Parameter>
class BackendTest : public testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override { skip_unless_runnable(backend()); }
  Backend backend() const {
    if constexpr (std::is_same_v<Parameter, Backend>) {
      return this->GetParam();
    } else {
      return this->GetParam().backend;
    }
  }
};

/// Scratch memory in memory that every backend sees.
class VisibleWorkspace : public Workspace {
 public:
  void* reserve(size_t bytes) override;

 private:
  Values<unsigned char> memory_;
};

/// A Context for kernels of any backend, with its own threads, stream and workspace; converts to Context& where a
/// kernel wants one.
class TestContext {
 public:
  explicit TestContext(int threads = 2) : threads_(threads) {
    if (can_run(Backend::cuda)) stream_.emplace();
    context_ = {&threads_, &workspace_, Precision::fp32, stream_ ? &*stream_ : nullptr};
  }
  TestContext(const TestContext&) = delete;
  TestContext& operator=(const TestContext&) = delete;

  operator Context&() { return context_; }
  Context* operator->() { return &context_; }

 private:
  ThreadPool threads_;
  std::optional<gpu::Stream> stream_;
  VisibleWorkspace workspace_;
  Context context_;
};

/// A test case on one backend, printed as `cpu_alexnet_conv2`. `Case` has a member `name` of letters, digits and `_`.
template <typename Case>
struct OnBackend {
  Backend backend;
  Case value;

  std::string name() const { return to_string(backend) + "_" + std::string(value.name); }
  friend void PrintTo(const OnBackend& c, std::ostream* out) { *out << c.name(); }
};

/// The product of `backends` and `cases`, for INSTANTIATE_TEST_SUITE_P(, Suite, on_every_backend(cases), case_name).
template <typename Case>
auto on_every_backend(const std::vector<Case>& cases, const std::vector<Backend>& on = backends()) {
  std::vector<OnBackend<Case>> product;
  for (const Backend backend : on) {
    for (const Case& value : cases) product.push_back({backend, value});
  }
  return testing::ValuesIn(product);
}

inline constexpr auto case_name = [](const auto& info) { return info.param.name(); };

/// For a suite whose only parameter is the backend: INSTANTIATE_TEST_SUITE_P(, Suite, ValuesIn(backends()),
/// backend_name).
inline constexpr auto backend_name = [](const testing::TestParamInfo<Backend>& info) { return to_string(info.param); };
inline void PrintTo(Backend backend, std::ostream* out) { *out << to_string(backend); }

}  // namespace striate::test
