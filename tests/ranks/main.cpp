// Runs every test on all ranks together. A test that fails on one of them fails: the exit code is the ranks' worst.

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/gpu/device.h"
#include "tests/ranks/ranks.h"

namespace striate::test {
namespace {
Communicator* connected = nullptr;

/// Only the first rank tells how it goes; failures are told by whoever has them.
class FailuresOnly final : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  // Called with the lock held that asking for the current test would take.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::ostringstream text;
    text << "rank " << ranks().rank() << ": " << test_ << "\n"
         << (result.file_name() != nullptr ? result.file_name() : "") << ":" << result.line_number() << "\n"
         << result.message() << "\n";
    std::cout << text.str() << std::flush;
  }

 private:
  std::string test_;
};
}  // namespace

Communicator& ranks() { return *connected; }

Ranks ranks_on(Device device) {
  // Where ranks share a GPU, for which NCCL is not made, values take the way that they take in a host build.
  static const auto on_device = [] {
    const bool alone = ranks().size() == 1 || !gpu::built_for_gpu();
    const std::vector<std::string> gpus = ranks().gathered_texts(alone ? "" : gpu::bus_id());
    const bool one_each = std::set<std::string>(gpus.begin(), gpus.end()).size() == gpus.size();
    return one_each && !alone ? connect_nccl(ranks()) : staged_on_host(ranks());
  }();
  return {&ranks(), on_host(device) ? &ranks() : on_device.get()};
}

}  // namespace striate::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::unique_ptr<striate::Communicator> communicator = striate::connect_mpi();
  striate::test::connected = communicator.get();
  striate::choose_gpu(*communicator);
  if (communicator->rank() > 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new striate::test::FailuresOnly);
  }
  int code = RUN_ALL_TESTS();
  if (testing::UnitTest::GetInstance()->successful_test_count() == 0) code = 1;
  const auto codes = communicator->gathered(code);
  return *std::max_element(codes.begin(), codes.end());
}
