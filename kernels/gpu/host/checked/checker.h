#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gpu/host/checked/counters.h"
#include "kernels/gpu/host/checked/faults.h"
#include "kernels/gpu/host/checked/shadow.h"
#include "kernels/gpu/host/grid.h"

namespace striate::gpu::host::checked {

enum class Kind : uint8_t { read, write, atomic, async_issue, async_land };

struct Region {
  uintptr_t begin;
  size_t bytes;
  std::string name;
};

/// Which accesses of a launch are ordered, and which are not.
///
/// Two accesses to one byte, at least one of them a write and not both atomic, are a race unless something orders them:
/// they are of one thread, or a __syncthreads() lies between them, or (within a warp) a chain of __syncwarp()s. Nothing
/// orders the blocks of a launch; launches are ordered. That both would write the same value is no excuse.
class Checker {
 public:
  // As checker_events.h has them.
  void launch_begins(const Launch& launch, const char* kernel);
  void launch_ends();
  void block_begins(const Dim3& index);
  void shared_window(uintptr_t begin, size_t bytes);
  void shared_part(uintptr_t begin, size_t bytes, const char* name);
  void barrier();
  void sync_lanes(unsigned warp, uint32_t lanes);
  void lanes_meet(unsigned warp, uint32_t lanes) { counters_.warp_synchronises(warp, lanes); }
  void block_ends() { counters_.block_synchronises(); }

  void add_allocation(uintptr_t begin, size_t bytes, const char* name);
  void remove_allocation(uintptr_t begin);

  void access(uintptr_t address, size_t bytes, Kind kind, Code code);
  void async_copy(uintptr_t shared, size_t bytes, uintptr_t global, size_t global_bytes, Code code);
  void async_landed(uintptr_t shared, size_t bytes);
  void ldmatrix(uintptr_t row, int matrices, Code code);
  Counters& counters() { return counters_; }

  // What the callbacks look at before anything else.
  unsigned thread = 0;
  uintptr_t stack_begin = 0, arguments_begin = 0;
  size_t stack_bytes = 0, arguments_bytes = 0;

 private:
  struct Warp {
    uint32_t interval = 0;  ///< in which the rest holds; in any other no lanes are ordered
    uint32_t clock[kWarpSize];
    uint32_t known[kWarpSize][kWarpSize];  ///< [lane][other]: what other did before this clock is before lane's next
  };
  struct Block {
    uint32_t begin;
    Dim3 index;
  };
  struct Access {
    uintptr_t address;
    size_t bytes;
    Kind kind;
    bool shared;
    Code code;
    uint16_t thread;
    uint32_t clock;
  };

  bool in_bounds(const Access& access);
  bool is_shared(uintptr_t address) const { return address - window_begin_ < window_bytes_; }
  Access describe(uintptr_t address, size_t bytes, Kind kind, Code code, unsigned by) const;
  void touch(const Access& access);
  void touch_cell(Cell& cell, const Access& access, unsigned bytes);
  void check_write(const Cell& cell, const Access& access);
  void check_reads(const Cell& cell, const Access& access);
  void record_read(Cell& cell, const Access& access) const;
  void record_write(Cell& cell, const Access& access) const;
  bool ordered(unsigned before, uint32_t clock, unsigned now) const;

  void report_race(const Access& access, unsigned other, uint32_t interval, Code code, const char* did,
                   const char* missing);
  void report(Fault fault, const Access& access, Code other, const std::string& what);
  const Region* find_region(const std::vector<Region>& regions, uintptr_t address) const;
  std::string place_text(uintptr_t address) const;
  std::string thread_text(unsigned linear) const;

  Launch launch_{};
  std::string kernel_;
  uint32_t interval_ = 1, launch_begin_ = 1, block_begin_ = 1;
  std::vector<Block> blocks_;
  Warp warps_[1024 / kWarpSize];
  uintptr_t window_begin_ = 0;
  size_t window_bytes_ = 0;
  std::vector<Region> shared_parts_;
  std::vector<Region> allocations_;  // by address
  struct Seen {
    Fault fault;
    Code code, other;
  };
  std::vector<Seen> seen_;  // in this launch
  Shadow shadow_;
  Counters counters_;
};

/// The one of the process; launches are checked one after another.
Checker& checker();

}  // namespace striate::gpu::host::checked
