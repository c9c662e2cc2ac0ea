#include "kernels/gpu/host/checked/counters.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"
#include "kernels/gpu/host/checked/checker.h"

namespace striate::gpu::host::checked {

namespace {

constexpr unsigned kBanks = 32, kSectorBytes = 32;

struct Run {
  uintptr_t begin, end;
};

/// What the lanes ask for as disjoint runs in ascending order; their number.
int merge(Run* runs, int count) {
  std::sort(runs, runs + count, [](const Run& a, const Run& b) { return a.begin < b.begin; });
  int merged = 0;
  for (int i = 0; i < count; ++i) {
    if (merged > 0 && runs[i].begin <= runs[merged - 1].end) {
      runs[merged - 1].end = std::max(runs[merged - 1].end, runs[i].end);
    } else {
      runs[merged++] = runs[i];
    }
  }
  return merged;
}

/// The words of runs: how many there are, and the most that one bank has of them.
struct Words {
  uint64_t count = 0, worst_bank = 0;
};

Words words_of(const Run* runs, int count) {
  uint64_t bank[kBanks] = {};
  Words words;
  uintptr_t next = 0;
  for (int i = 0; i < count; ++i) {
    for (uintptr_t word = std::max(next, runs[i].begin / 4); word <= (runs[i].end - 1) / 4; ++word) {
      ++words.count;
      words.worst_bank = std::max(words.worst_bank, ++bank[word % kBanks]);
      next = word + 1;
    }
  }
  return words;
}

void add(GlobalCounters& sum, const GlobalCounters& part) {
  sum.requests += part.requests;
  sum.bytes += part.bytes;
  sum.block_bytes += part.block_bytes;
  sum.launch_bytes += part.launch_bytes;
  sum.sectors += part.sectors;
  sum.ideal_sectors += part.ideal_sectors;
}

void add(SharedCounters& sum, const SharedCounters& part) {
  sum.requests += part.requests;
  sum.bytes += part.bytes;
  sum.wavefronts += part.wavefronts;
  sum.ideal_wavefronts += part.ideal_wavefronts;
}

}  // namespace

void Counters::launch_begins(const Launch& launch, const std::string& kernel) {
  kernel_ = &kernels_[kernel];
  ++kernel_->totals.launches;
  kernel_->totals.grid_blocks += launch.grid.count();
  threads_ = static_cast<unsigned>(launch.block.count());
  launches_.push_back({kernel, launch.function, launch.grid, threads_, launch.shared_bytes});
  warps_.resize((threads_ + 31) / 32);
  for (Warp& warp : warps_) {
    warp = {};
    warp.executions.resize(kernel_->instructions.size());
  }
}

void Counters::block_begins() {
  if (on) ++kernel_->totals.blocks;
}

void Counters::barrier() {
  if (!on) return;
  ++kernel_->totals.barriers;
  block_synchronises();
}

void Counters::block_synchronises() {
  if (!on) return;
  for (Warp& warp : warps_) finish(warp);
}

void Counters::warp_synchronises(unsigned warp, uint32_t lanes) {
  const unsigned there = std::min(32u, threads_ - warp * 32);
  if (on && static_cast<unsigned>(__builtin_popcount(lanes)) == there) finish(warps_[warp]);
}

void Counters::flops(uint64_t operations) {
  if (on) kernel_->totals.flops += operations;
}

void Counters::first_use(bool write, unsigned bytes, bool in_launch) {
  GlobalCounters& global = write ? kernel_->totals.global_write : kernel_->totals.global_read;
  global.block_bytes += bytes;
  if (in_launch) global.launch_bytes += bytes;
}

void Counters::access(unsigned thread, uintptr_t address, size_t bytes, bool shared, bool write, Code code) {
  // No instruction moves more than 16 bytes a lane.
  for (size_t done = 0; done < bytes; done += 16) {
    add(thread, address + done, std::min<size_t>(16, bytes - done), shared ? Form::shared : Form::global, write, 0,
        code);
  }
}

void Counters::ldmatrix_row(unsigned thread, uintptr_t address, int matrices, Code code) {
  add(thread, address, 16, Form::matrix_rows, false, static_cast<unsigned>(matrices), code);
}

void Counters::add(unsigned thread, uintptr_t address, size_t bytes, Form form, bool write, unsigned matrices,
                   Code code) {
  const uint64_t key = uint64_t{code} << 3 | static_cast<uint64_t>(form) << 1 | (write ? 1 : 0);
  const auto [found, is_new] = kernel_->by_key.try_emplace(key, static_cast<uint32_t>(kernel_->instructions.size()));
  if (is_new) kernel_->instructions.push_back({code, form, write, matrices, {}, {}});
  const uint32_t instruction = found->second;
  Warp& warp = warps_[thread / 32];
  if (warp.executions.size() <= instruction) warp.executions.resize(kernel_->instructions.size());
  Executions& executions = warp.executions[instruction];
  const unsigned lane = thread % 32;
  const uint32_t nth = executions.of_lane[lane]++;
  if (nth >= executions.requests.size()) {
    if (executions.requests.empty()) warp.executed.push_back(instruction);
    if (warp.free.empty()) {
      warp.free.push_back(static_cast<uint32_t>(warp.requests.size()));
      warp.requests.emplace_back();
    }
    executions.requests.push_back(warp.free.back());
    warp.requests[warp.free.back()].instruction = instruction;
    warp.free.pop_back();
  }
  const uint32_t index = executions.requests[nth];
  Request& request = warp.requests[index];
  request.lanes |= 1u << lane;
  request.address[lane] = address;
  request.bytes[lane] = static_cast<uint8_t>(bytes);
  // All lanes that can come have come: a long loop needs no memory for all its turns.
  const unsigned there = std::min({32u, threads_ - thread / 32 * 32, form == Form::matrix_rows ? 8u * matrices : 32u});
  if (static_cast<unsigned>(__builtin_popcount(request.lanes)) == there) {
    count(request);
    request.lanes = 0;
    warp.free.push_back(index);
  }
}

void Counters::finish(Warp& warp) {
  for (const Request& request : warp.requests) {
    if (request.lanes != 0) count(request);
  }
  warp.requests.clear();
  warp.free.clear();
  for (const uint32_t instruction : warp.executed) {
    Executions& executions = warp.executions[instruction];
    executions.requests.clear();
    std::fill(executions.of_lane, executions.of_lane + 32, 0u);
  }
  warp.executed.clear();
}

void Counters::count(const Request& request) {
  Instruction& instruction = kernel_->instructions[request.instruction];
  Run runs[32];
  const auto gather = [&](uint32_t lanes) {
    int count = 0;
    for (uint32_t rest = request.lanes & lanes; rest != 0; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      runs[count++] = {request.address[lane], request.address[lane] + request.bytes[lane]};
    }
    return merge(runs, count);
  };

  const int all = gather(~0u);
  uint64_t bytes = 0;
  for (int i = 0; i < all; ++i) bytes += runs[i].end - runs[i].begin;
  if (instruction.form == Form::global) {
    GlobalCounters& global = instruction.global;
    ++global.requests;
    global.bytes += bytes;
    uintptr_t next = 0;
    for (int i = 0; i < all; ++i) {
      const uintptr_t first = std::max(next, runs[i].begin / kSectorBytes), last = (runs[i].end - 1) / kSectorBytes;
      if (last >= first) global.sectors += last - first + 1;
      next = last + 1;
      global.ideal_sectors += (runs[i].end - runs[i].begin + kSectorBytes - 1) / kSectorBytes;
    }
    return;
  }
  SharedCounters& shared = instruction.shared;
  ++shared.requests;
  shared.bytes += bytes;
  uint8_t widest = 0;
  for (uint32_t rest = request.lanes; rest != 0; rest &= rest - 1) {
    widest = std::max(widest, request.bytes[__builtin_ctz(rest)]);
  }
  const Words together = words_of(runs, all);
  const auto by_lanes = [&](unsigned at_once) {
    Words sum;
    for (unsigned first = 0; first < 32; first += at_once) {
      const Words words = words_of(runs, gather(((at_once == 32 ? 0u : 1u << at_once) - 1) << first));
      sum.count += (words.count + kBanks - 1) / kBanks;
      sum.worst_bank += words.worst_bank;
    }
    return sum;
  };
  if (widest == 16) {
    const Words quarters = by_lanes(8);
    shared.wavefronts += quarters.worst_bank;
    // A matrix of ldmatrix is a wavefront, 32 words.
    shared.ideal_wavefronts += instruction.form == Form::matrix_rows ? instruction.matrices : quarters.count;
  } else {
    shared.wavefronts += widest == 8 && together.count > kBanks ? by_lanes(16).worst_bank : together.worst_bank;
    shared.ideal_wavefronts += (together.count + kBanks - 1) / kBanks;
  }
}

KernelCounters Counters::kernel(const std::string& name) const {
  const auto found = kernels_.find(name);
  require<Error>(found != kernels_.end(), "counters of kernel {}: it was not launched while counting", name);
  KernelCounters result = found->second.totals;
  std::map<std::pair<std::string, int>, LineCounters> lines;
  for (const Instruction& instruction : found->second.instructions) {
    const SourceLine& place = source_line(instruction.code);
    LineCounters& line = lines[{place.file, place.line}];
    line.file = place.file;
    line.line = place.line;
    checked::add(instruction.write ? line.global_write : line.global_read, instruction.global);
    checked::add(instruction.write ? line.shared_write : line.shared_read, instruction.shared);
    checked::add(instruction.write ? result.global_write : result.global_read, instruction.global);
    checked::add(instruction.write ? result.shared_write : result.shared_read, instruction.shared);
  }
  for (auto& [place, line] : lines) result.lines.push_back(std::move(line));
  return result;
}

std::vector<std::string> Counters::kernels() const {
  std::vector<std::string> names;
  for (const auto& [name, kernel] : kernels_) names.push_back(name);
  return names;
}

void Counters::clear() {
  kernels_.clear();
  launches_.clear();
  kernel_ = nullptr;
}

Counting::Counting() {
  checker().counters().clear();
  checker().counters().on = true;
}

Counting::~Counting() { checker().counters().on = false; }

BlockSample::BlockSample(uint64_t blocks) { checker().counters().most_blocks = blocks; }
BlockSample::~BlockSample() { checker().counters().most_blocks = 0; }

KernelCounters counters(const std::string& kernel) { return checker().counters().kernel(kernel); }
std::vector<std::string> counted_kernels() { return checker().counters().kernels(); }
const std::vector<LaunchRecord>& counted_launches() { return checker().counters().launches(); }

}  // namespace striate::gpu::host::checked
