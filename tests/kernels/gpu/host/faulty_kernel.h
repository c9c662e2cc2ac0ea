#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "kernels/gpu/host/checked/faults.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

// For small faulty kernels that the checking build catches and names, and their twins without the fault.

namespace striate::gpu {

using host::checked::CollectedFaults;
using host::checked::Fault;
using host::checked::FaultReport;

class FaultyKernelTest : public testing::Test {
 protected:
  FaultyKernelTest() { set(data_, 0, kFloats * sizeof(float), stream_); }
  ~FaultyKernelTest() override { release(data_, MemoryKind::managed); }

  template <typename T>
  T* data() {
    return static_cast<T*>(data_);
  }

  static constexpr size_t kFloats = 4096;
  Stream stream_;

 private:
  void* data_ = allocate(kFloats * sizeof(float), MemoryKind::managed);
};

inline std::string texts(const CollectedFaults& collected) {
  std::string all;
  for (const FaultReport& fault : collected.faults()) all += fault.text + "\n";
  return all;
}

/// The launch leaves faults, all of them in this file and of this kind, and their words match. (Who reads too early
/// may also have read what nobody has written yet: that is said beside the race.)
#define EXPECT_FAULT(kind, words, ...)                                                                  \
  do {                                                                                                  \
    CollectedFaults collected;                                                                          \
    __VA_ARGS__;                                                                                        \
    for (const FaultReport& report : collected.faults()) {                                              \
      const bool early = Fault::kind == Fault::race && report.fault == Fault::uninitialised;            \
      EXPECT_TRUE(report.fault == Fault::kind || early) << report.text;                                 \
      EXPECT_TRUE(report.line > 0 && std::string_view(__FILE__).ends_with(report.file)) << report.text; \
    }                                                                                                   \
    EXPECT_TRUE(testing::internal::RE::PartialMatch(texts(collected), words)) << texts(collected);      \
  } while (false)

#define EXPECT_CLEAN(...)            \
  do {                               \
    CollectedFaults collected;       \
    __VA_ARGS__;                     \
    EXPECT_EQ(texts(collected), ""); \
  } while (false)

}  // namespace striate::gpu
