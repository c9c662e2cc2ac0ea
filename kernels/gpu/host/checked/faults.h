#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace striate::gpu::host::checked {

enum class Fault { race, out_of_bounds, uninitialised };

struct FaultReport {
  Fault fault;
  std::string kernel;  ///< as it stands in launch()
  std::string file;    ///< where the access is that brought it up, from the project root
  int line;
  std::string text;  ///< everything: kernel, launch, block, threads, address, both places
};

/// While one lives, faults are kept instead of ending the process; the faulty kernel goes on. One at a time.
class CollectedFaults {
 public:
  CollectedFaults();
  ~CollectedFaults();
  CollectedFaults(const CollectedFaults&) = delete;
  CollectedFaults& operator=(const CollectedFaults&) = delete;
  const std::vector<FaultReport>& faults() const { return faults_; }

 private:
  friend void raise(FaultReport report);
  std::vector<FaultReport> faults_;
};

/// Hands a fault to the CollectedFaults, or prints it and aborts.
void raise(FaultReport report);

/// A place in the program's code, as an offset from its first byte: what a return address is turned into.
using Code = uint32_t;
Code code_of(const void* return_address);

struct SourceLine {
  std::string file;  ///< from the project root
  int line = 0;
};
/// The line of a kernel that an access belongs to: the innermost that is not of kernels/gpu/ or a system header.
/// Needs addr2line (binutils); without it the line is 0 and the file says so. Slow at first, then remembered.
const SourceLine& source_line(Code code);

}  // namespace striate::gpu::host::checked
