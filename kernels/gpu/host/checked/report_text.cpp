// The words of a fault.
#include <algorithm>
#include <utility>

#include "kernels/error.h"
#include "kernels/gpu/host/checked/checker.h"

namespace striate::gpu::host::checked {

namespace {

std::string line_text(Code code) {
  const SourceLine& line = source_line(code);
  return fmt::format("{}:{}", line.file, line.line);
}

const char* verb(Kind kind) {
  switch (kind) {
    case Kind::read:
      return "reads";
    case Kind::write:
      return "writes";
    case Kind::atomic:
      return "changes by an atomic operation";
    default:
      return "writes by a cp.async";
  }
}

}  // namespace

std::string Checker::thread_text(unsigned linear) const {
  const Dim3& block = launch_.block;
  return text(Dim3(linear % block.x, linear / block.x % block.y, linear / block.x / block.y));
}

std::string Checker::place_text(uintptr_t address) const {
  const bool shared = is_shared(address);
  const std::vector<Region>& regions = shared ? shared_parts_ : allocations_;
  const Region* before = find_region(regions, address);
  const Region* after = before ? before + 1 : regions.data();
  if (after == regions.data() + regions.size()) after = nullptr;
  // An address in no part is named by the part that it is nearest to.
  if (before && address >= before->begin + before->bytes && after &&
      after->begin - address < address - (before->begin + before->bytes)) {
    before = nullptr;
  }
  constexpr uintptr_t kNear = 1 << 20;
  if (before && address - (before->begin + before->bytes) < kNear) {
    return fmt::format("{} + {} (it has {} bytes)", before->name, address - before->begin, before->bytes);
  }
  if (before && address < before->begin + before->bytes) {
    return fmt::format("{} + {}", before->name, address - before->begin);
  }
  if (!before && after && after->begin - address < kNear) {
    return fmt::format("{} - {} (it has {} bytes)", after->name, after->begin - address, after->bytes);
  }
  return fmt::format("{} at {:#x}, far from every {}", shared ? "shared memory" : "memory", address,
                     shared ? "part that the block has" : "allocation of the device");
}

void Checker::report_race(const Access& access, unsigned other, uint32_t interval, Code code, const char* did,
                          const char* missing) {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), interval,
                                      [](uint32_t value, const Block& block) { return value < block.begin; });
  const Dim3& index = (after - 1)->index;
  const bool same_block = (after - 1)->begin == block_begin_;
  report(Fault::race, access, code,
         fmt::format("races: {}{} {} at {}, {}", same_block ? std::string() : fmt::format("block {}, ", text(index)),
                     same_block && other == access.thread ? "the thread itself" : "thread " + thread_text(other), did,
                     line_text(code), missing));
}

void Checker::report(Fault fault, const Access& access, Code other, const std::string& what) {
  // A line that is wrong once is mostly wrong for thousands of threads.
  for (const Seen& seen : seen_) {
    if (seen.fault == fault && seen.code == access.code && seen.other == other) return;
  }
  seen_.push_back({fault, access.code, other});
  const SourceLine& line = source_line(access.code);
  // A kernel's name as it stands in a template says the arguments' names only.
  const std::string by = launch_.function;
  const std::string instance = by.find("[with ") == std::string::npos ? "" : " by " + by;
  raise({fault, kernel_, line.file, line.line,
         fmt::format("kernel {} (launched at {}:{}{}), block {}, thread {}: at {}:{} it {} {} bytes of {} memory, {}, "
                     "which {}",
                     kernel_, launch_.file, launch_.line, instance, text(blocks_.back().index),
                     thread_text(access.thread), line.file, line.line, verb(access.kind), access.bytes,
                     access.shared ? "shared" : "global", place_text(access.address), what)});
}

}  // namespace striate::gpu::host::checked
