#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "kernels/context.h"

namespace striate::test {

/// The devices whose kernels are checked against the reference. A test body never names one: it looks the op's
/// functions up in a BackendTable.
enum class Backend { cpu };

/// Every backend this build can run.
std::vector<Backend> backends();
std::string to_string(Backend backend);

/// One op's functions (a struct of function pointers) on each backend.
template <typename Functions>
struct BackendTable {
  Functions cpu;

  const Functions& operator[](Backend backend) const {
    switch (backend) {
      case Backend::cpu:
        break;
    }
    return cpu;
  }
};

/// A Context with its own threads and workspace; converts to Context& where a kernel wants one.
class TestContext {
 public:
  explicit TestContext(int threads = 2) : threads_(threads), context_{&threads_, &workspace_, Precision::fp32} {}
  TestContext(const TestContext&) = delete;
  TestContext& operator=(const TestContext&) = delete;

  operator Context&() { return context_; }
  Context* operator->() { return &context_; }

 private:
  ThreadPool threads_;
  HostWorkspace workspace_;
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

/// The product of all backends and `cases`, for INSTANTIATE_TEST_SUITE_P(, Suite, on_every_backend(cases), case_name).
template <typename Case>
auto on_every_backend(const std::vector<Case>& cases) {
  std::vector<OnBackend<Case>> product;
  for (const Backend backend : backends()) {
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
