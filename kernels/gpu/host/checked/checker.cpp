#include "kernels/gpu/host/checked/checker.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"

extern "C" const char __executable_start, _end;  // the linker's: where the program's code and static data lie

namespace striate::gpu::host::checked {

Checker& checker() {
  static Checker& only = *new Checker;  // never destroyed: static destructors may still run instrumented code
  return only;
}

void Checker::launch_begins(const Launch& launch, const char* kernel) {
  launch_ = launch;
  kernel_ = kernel;
  launch_begin_ = block_begin_ = ++interval_;
  blocks_.clear();
  seen_.clear();
  shadow_.trim();
  arguments_begin = reinterpret_cast<uintptr_t>(launch.call);
  arguments_bytes = launch.call_bytes;
  if (counters_.on) counters_.launch_begins(launch, kernel_);
}

void Checker::launch_ends() { ++interval_; }

void Checker::block_begins(const Dim3& index) {
  block_begin_ = ++interval_;
  blocks_.push_back({block_begin_, index});
  shared_parts_.clear();
  counters_.block_begins();
}

void Checker::shared_window(uintptr_t begin, size_t bytes) {
  window_begin_ = begin;
  window_bytes_ = bytes;
}

void Checker::shared_part(uintptr_t begin, size_t bytes, const char* name) {
  shared_parts_.push_back({begin, bytes, name});
}

void Checker::barrier() {
  ++interval_;
  counters_.barrier();
}

void Checker::sync_lanes(unsigned warp_index, uint32_t lanes) {
  Warp& warp = warps_[warp_index];
  if (warp.interval != interval_) {
    warp = Warp{};
    warp.interval = interval_;
  }
  uint32_t known[kWarpSize] = {}, latest = 0;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    latest = std::max(latest, warp.clock[lane]);
    for (int other = 0; other < kWarpSize; ++other) known[other] = std::max(known[other], warp.known[lane][other]);
  }
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) known[__builtin_ctz(rest)] = latest + 1;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    std::copy(known, known + kWarpSize, warp.known[lane]);
    warp.clock[lane] = latest + 1;
  }
}

bool Checker::ordered(unsigned before, uint32_t clock, unsigned now) const {
  if (before == now) return true;
  if (before / kWarpSize != now / kWarpSize) return false;
  const Warp& warp = warps_[now / kWarpSize];
  return warp.interval == interval_ && clock < warp.known[now % kWarpSize][before % kWarpSize];
}

void Checker::add_allocation(uintptr_t begin, size_t bytes, const char* name) {
  const auto after = std::upper_bound(allocations_.begin(), allocations_.end(), begin,
                                      [](uintptr_t address, const Region& region) { return address < region.begin; });
  allocations_.insert(after, {begin, bytes, name});
}

void Checker::remove_allocation(uintptr_t begin) {
  std::erase_if(allocations_, [&](const Region& region) { return region.begin == begin; });
}

/// The last of `regions` that begins at or before the address.
const Region* Checker::find_region(const std::vector<Region>& regions, uintptr_t address) const {
  const Region* found = nullptr;
  size_t low = 0, high = regions.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (regions[middle].begin <= address) {
      found = &regions[middle];
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return found;
}

bool Checker::in_bounds(const Access& access) {
  const auto inside = [&](uintptr_t begin, size_t bytes) {
    return access.address >= begin && access.address + access.bytes <= begin + bytes;
  };
  const Region* region = find_region(access.shared ? shared_parts_ : allocations_, access.address);
  if (region && inside(region->begin, region->bytes)) return true;
  if (!access.shared) {
    // The program's constants.
    const auto program = reinterpret_cast<uintptr_t>(&__executable_start);
    if (inside(program, reinterpret_cast<uintptr_t>(&_end) - program)) return true;
  }
  report(Fault::out_of_bounds, access, 0, "is outside");
  return false;
}

Checker::Access Checker::describe(uintptr_t address, size_t bytes, Kind kind, Code code, unsigned by) const {
  const Warp& warp = warps_[by / kWarpSize];
  const uint32_t clock = warp.interval == interval_ ? warp.clock[by % kWarpSize] : 0;
  return {address, bytes, kind, is_shared(address), code, static_cast<uint16_t>(by), clock};
}

void Checker::access(uintptr_t address, size_t bytes, Kind kind, Code code) {
  if (bytes == 0) return;
  const Access access = describe(address, bytes, kind, code, thread);
  if (!in_bounds(access)) return;
  touch(access);
  if (counters_.on) counters_.access(thread, address, bytes, access.shared, kind != Kind::read, code);
}

void Checker::async_copy(uintptr_t shared, size_t bytes, uintptr_t global, size_t global_bytes, Code code) {
  access(shared, bytes, Kind::async_issue, code);
  access(global, global_bytes, Kind::read, code);
}

void Checker::async_landed(uintptr_t shared, size_t bytes) {
  touch(describe(shared, bytes, Kind::async_land, 0, thread));
}

void Checker::ldmatrix(uintptr_t row, int matrices, Code code) {
  const unsigned lane = thread % kWarpSize, first = thread - lane;
  if (lane >= 8 * static_cast<unsigned>(matrices)) return;
  Access access = describe(row, 16, Kind::read, code, thread);
  if (!in_bounds(access)) return;
  // PTX ISA, "Warp-level matrix load instruction: ldmatrix": word i of row r goes to lane 4r + i.
  for (unsigned word = 0; word < 4; ++word) {
    touch(describe(row + word * 4, 4, Kind::read, code, first + lane % 8 * 4 + word));
  }
  if (counters_.on) counters_.ldmatrix_row(thread, row, matrices, code);
}

void Checker::touch(const Access& access) {
  const uintptr_t end = access.address + access.bytes;
  for (uintptr_t word = access.address & ~uintptr_t{3}; word < end; word += 4) {
    const auto [cell, bytes] = shadow_.at(word);
    const auto low = static_cast<unsigned>(std::max(access.address, word) - word);
    const auto high = static_cast<unsigned>(std::min(end, word + 4) - word);
    if (!(cell->flags & Cell::kSplit)) {
      if (high - low == 4) {
        touch_cell(*cell, access, 4);
        continue;
      }
      std::fill(bytes, bytes + 4, *cell);
      cell->flags |= Cell::kSplit;
    }
    for (unsigned i = low; i < high; ++i) touch_cell(bytes[i], access, 1);
    // A write to the whole word leaves its bytes alike.
    if (high - low == 4 && access.kind != Kind::read) *cell = bytes[0];
  }
}

void Checker::touch_cell(Cell& cell, const Access& access, unsigned bytes) {
  if (access.kind == Kind::async_land) {
    cell.flags = 0;
    cell.write_interval = interval_;
    cell.write_clock = access.clock;
    return;
  }
  const bool reads = access.kind == Kind::read;
  if (access.shared) {
    if ((reads || access.kind == Kind::atomic) && cell.write_interval < block_begin_) {
      report(Fault::uninitialised, access, 0, "holds nothing that the block has written");
    }
    if (cell.write_interval >= block_begin_) check_write(cell, access);
  } else {
    if (counters_.on) {
      const uint32_t last = reads ? std::max(cell.read_interval, cell.other_interval) : cell.write_interval;
      if (last < block_begin_) counters_.first_use(!reads, bytes, last < launch_begin_);
    }
    if (cell.write_interval >= launch_begin_) check_write(cell, access);
  }
  if (reads) {
    record_read(cell, access);
  } else {
    check_reads(cell, access);
    record_write(cell, access);
  }
}

void Checker::check_write(const Cell& cell, const Access& access) {
  const uint32_t when = cell.write_interval;
  const auto race = [&](const char* did, const char* missing) {
    report_race(access, cell.write_thread, when, cell.write_site, did, missing);
  };
  if (cell.flags & Cell::kAsync) {
    race("writes there by a cp.async",
         cell.write_thread == access.thread ? "that it has not waited for" : "that has not been waited for");
    return;
  }
  const bool atomic = cell.flags & Cell::kAtomic;
  if (atomic && access.kind == Kind::atomic) return;
  const char* did = atomic ? "changed it by an atomic operation" : "wrote there";
  if (when < block_begin_) {
    race(did, "and nothing orders the blocks of a launch");
  } else if (cell.flags & Cell::kBlocks) {
    race(did, "as did other blocks, and nothing orders the blocks of a launch");
  } else if (when == interval_) {
    if (cell.flags & Cell::kShared) {
      race(did, "as did other threads, with no barrier in between");
    } else if (!ordered(cell.write_thread, cell.write_clock, access.thread)) {
      race(did, "with no barrier in between");
    }
  }
}

void Checker::check_reads(const Cell& cell, const Access& access) {
  const auto race = [&](bool other, const char* missing) {
    report_race(access, other ? cell.other_thread : cell.read_thread, other ? cell.other_interval : cell.read_interval,
                other ? cell.other_site : cell.read_site, "read there", missing);
  };
  const uint32_t begin = access.shared ? block_begin_ : launch_begin_;
  if (cell.other_interval >= begin && cell.other_interval < block_begin_) {
    race(true, "and nothing orders the blocks of a launch");
    return;
  }
  if (cell.read_interval >= begin && cell.read_interval < block_begin_) {
    race(false, "and nothing orders the blocks of a launch");
    return;
  }
  if (cell.other_interval == interval_ && cell.other_thread / kWarpSize != access.thread / kWarpSize) {
    race(true, "with no barrier in between");
    return;
  }
  if (cell.read_interval != interval_) return;
  const unsigned first = cell.read_thread / kWarpSize * kWarpSize;
  for (uint32_t lanes = cell.read_lanes; lanes != 0; lanes &= lanes - 1) {
    const unsigned reader = first + static_cast<unsigned>(__builtin_ctz(lanes));
    if (ordered(reader, cell.read_clock, access.thread)) continue;
    report_race(access, reader, cell.read_interval, cell.read_site, "read there", "with no barrier in between");
    return;
  }
}

void Checker::record_read(Cell& cell, const Access& access) const {
  const uint32_t own = 1u << access.thread % kWarpSize;
  uint32_t lanes = own, clock = access.clock;
  if (cell.read_interval == interval_ && cell.read_thread / kWarpSize == access.thread / kWarpSize) {
    // Readers that are ordered before this one need no mention: who is ordered after it is so after them.
    const unsigned first = access.thread / kWarpSize * kWarpSize;
    uint32_t unordered = cell.read_lanes & ~own;
    if (warps_[access.thread / kWarpSize].interval == interval_) {
      for (uint32_t rest = unordered; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        if (ordered(first + static_cast<unsigned>(lane), cell.read_clock, access.thread)) unordered &= ~(1u << lane);
      }
    }
    if (unordered != 0) {
      lanes |= unordered;
      clock = std::max(clock, cell.read_clock);
    }
  } else {
    const uint32_t begin = access.shared ? block_begin_ : launch_begin_;
    const bool other_block = cell.other_interval >= begin && cell.other_interval < block_begin_;
    const bool matters =
        cell.read_interval == interval_ || (cell.read_interval >= begin && cell.read_interval < block_begin_);
    if (matters && !other_block) {
      cell.other_interval = cell.read_interval;
      cell.other_site = cell.read_site;
      cell.other_thread = cell.read_thread;
    }
  }
  cell.read_interval = interval_;
  cell.read_site = access.code;
  cell.read_thread = access.thread;
  cell.read_lanes = lanes;
  cell.read_clock = clock;
}

void Checker::record_write(Cell& cell, const Access& access) const {
  uint16_t flags = 0;
  if (access.kind == Kind::async_issue) flags = Cell::kAsync;
  if (access.kind == Kind::atomic) {
    flags = Cell::kAtomic;
    const uint32_t begin = access.shared ? block_begin_ : launch_begin_;
    if ((cell.flags & Cell::kAtomic) && cell.write_interval >= begin) {
      flags |= cell.flags & Cell::kBlocks;
      if (cell.write_interval < block_begin_) flags |= Cell::kBlocks;
      if (cell.write_interval == interval_) {
        flags |= cell.flags & Cell::kShared;
        if (cell.write_thread != access.thread) flags |= Cell::kShared;
      }
    }
  }
  cell.flags = flags;
  cell.write_interval = interval_;
  cell.write_site = access.code;
  cell.write_clock = access.clock;
  cell.write_thread = access.thread;
  // What is ordered after this write is so after the reads before it, too.
  cell.read_interval = cell.other_interval = 0;
}

}  // namespace striate::gpu::host::checked
