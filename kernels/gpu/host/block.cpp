// A block's threads are run one after another on carriers: a carrier is a fiber that calls the kernel for thread after
// thread and is left only when a thread has to wait. Threads that never wait cost a function call each; a block that
// meets at barriers needs a carrier for every thread that waits at once.
#include "kernels/gpu/host/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gpu/host/async_copy.h"
#include "kernels/gpu/host/checker_events.h"
#include "kernels/gpu/host/fiber.h"
#include "kernels/gpu/host/grid.h"
#include "kernels/gpu/host/shared_memory.h"

namespace striate::gpu::host {

namespace {

enum class State : uint8_t { unstarted, running, ready, at_barrier, in_meeting, done };

using Carrier = Fiber;

struct Thread {
  Dim3 index;
  unsigned linear = 0;
  State state = State::unstarted;
  const char* op = "";  ///< what it waits in
  Site site{"", 0};
  Carrier* carrier = nullptr;
};

/// Lanes of a warp of which some have come and wait for the others.
struct Meeting {
  const char* op;
  Site site;
  uint32_t mask, arrived;
  void* lanes[kWarpSize];
};

struct Warp {
  uint32_t present = 0;  ///< lanes that are in the block and have not left the kernel
  std::vector<Meeting> meetings;
};

class Block {
 public:
  void run(const Launch& launch, Dim3 index);

  const Launch& launch() const { return *launch_; }
  const Dim3& index() const { return index_; }
  Thread& current() { return *current_; }
  void sync_threads(Site site);
  void warp_meet(const char* op, Site site, uint32_t mask, void* operands, WarpCompute compute);
  std::span<std::byte> dynamic_shared() const { return shared_.dynamic(); }
  void* static_shared(const void* tag, const char* name, size_t bytes, size_t alignment);
  bool is_shared(const std::byte* p, size_t bytes) const { return shared_.holds(p, bytes); }
  AsyncCopies& async_copies() { return copies_[current_->linear]; }
  [[noreturn]] void fail(const std::string& message) const;

 private:
  static void enter(void* block) { static_cast<Block*>(block)->carry(); }
  void carry();
  void finish(Thread& thread);
  void wait(State state, const char* op, Site site);
  void make_ready(Thread& thread);
  void go_on();
  Carrier* idle_carrier();
  [[noreturn]] void fail_deadlock() const;
  Meeting& join(Warp& warp, const char* op, Site site, uint32_t mask);
  [[noreturn]] void fail_absent(const char* op, Site site, uint32_t mask) const;
  std::string lanes_text(uint32_t lanes) const;

  const Launch* launch_ = nullptr;
  Dim3 index_;
  std::vector<Thread> threads_;
  std::vector<Thread*> ready_;  // a ring with room for every thread
  size_t first_ready_ = 0, ready_count_ = 0;
  size_t next_ = 0, done_ = 0;
  Thread* current_ = nullptr;
  Carrier* running_ = nullptr;
  Carrier scheduler_;  // what called run()

  std::vector<std::unique_ptr<Carrier>> carriers_;
  std::vector<Carrier*> idle_;

  std::vector<Thread*> at_barrier_;
  std::vector<Warp> warps_;
  std::vector<AsyncCopies> copies_;  // by thread; all are empty when a block begins

  SharedMemory shared_;
};

// The block that this thread of the operating system runs; apart from its owner, because reading a variable with a
// destructor goes through a check every time.
thread_local Block* running_block = nullptr;

Block& block() { return *running_block; }

Block& block_of_this_thread() {
  thread_local std::unique_ptr<Block> owner;
  if (!owner) {
    owner = std::make_unique<Block>();
    running_block = owner.get();
  }
  return *owner;
}

void Block::run(const Launch& launch, Dim3 index) {
  launch_ = &launch;
  index_ = index;
  const auto count = static_cast<size_t>(launch.block.count());
  threads_.assign(count, Thread{});
  for (size_t i = 0; i < count; ++i) {
    const auto linear = static_cast<unsigned>(i);
    threads_[i].linear = linear;
    threads_[i].index = Dim3(linear % launch.block.x, linear / launch.block.x % launch.block.y,
                             linear / launch.block.x / launch.block.y);
  }
  ready_.assign(count, nullptr);
  first_ready_ = ready_count_ = 0;
  at_barrier_.clear();
  if (copies_.size() < count) copies_.resize(count);
  warps_.resize((count + kWarpSize - 1) / kWarpSize);
  for (size_t w = 0; w < warps_.size(); ++w) {
    const size_t lanes = std::min<size_t>(kWarpSize, count - w * kWarpSize);
    warps_[w].present = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    warps_[w].meetings.clear();
  }
  next_ = done_ = 0;
  events::block_begins(index);
  shared_.begin_block(launch.shared_bytes);

  running_ = &scheduler_;
  go_on();
  events::block_ends();
}

/// Leaves the running carrier for the next one that can run; returns when somebody comes back to it.
void Block::go_on() {
  Carrier* const from = running_;
  if (ready_count_ > 0) {
    Thread& thread = *ready_[first_ready_];
    first_ready_ = first_ready_ + 1 == ready_.size() ? 0 : first_ready_ + 1;
    --ready_count_;
    thread.state = State::running;
    current_ = &thread;
    running_ = thread.carrier;
  } else if (next_ < threads_.size()) {
    running_ = idle_carrier();
  } else if (done_ == threads_.size()) {
    running_ = &scheduler_;
  } else {
    fail_deadlock();
  }
  events::stack_is(running_->stack().data(), running_->stack().size());
  Fiber::transfer(*from, *running_);
}

void Block::carry() {
  for (;;) {
    while (next_ < threads_.size()) {
      Thread& thread = threads_[next_++];
      thread.state = State::running;
      thread.carrier = running_;
      current_ = &thread;
      events::thread_runs(thread.linear);
      launch_->body(launch_->call);
      events::thread_ends();
      finish(*current_);
    }
    idle_.push_back(running_);
    go_on();
  }
}

void Block::finish(Thread& thread) {
  thread.state = State::done;
  ++done_;
  if (!at_barrier_.empty()) {
    const Thread& waiting = *at_barrier_.front();
    fail(fmt::format("left the kernel while thread {} waits in __syncthreads() at {}:{}", text(waiting.index),
                     waiting.site.file, waiting.site.line));
  }
  AsyncCopies& copies = copies_[thread.linear];
  if (copies.pending() > 0) {
    const Site site = copies.first_site();
    fail(fmt::format("left the kernel with {} cp.async copies that it never waited for; the first is at {}:{}",
                     copies.pending(), site.file, site.line));
  }
  copies.clear();
  Warp& warp = warps_[thread.linear / kWarpSize];
  const uint32_t lane = 1u << thread.linear % kWarpSize;
  warp.present &= ~lane;
  for (const Meeting& meeting : warp.meetings) {
    if (meeting.mask & lane) {
      fail(fmt::format("left the kernel while lanes {} of its warp wait for it in {} at {}:{}",
                       lanes_text(meeting.arrived), meeting.op, meeting.site.file, meeting.site.line));
    }
  }
}

Carrier* Block::idle_carrier() {
  if (idle_.empty()) {
    carriers_.push_back(std::make_unique<Carrier>(&Block::enter, this));
    return carriers_.back().get();
  }
  Carrier* carrier = idle_.back();
  idle_.pop_back();
  return carrier;
}

void Block::wait(State state, const char* op, Site site) {
  Thread& thread = *current_;
  thread.state = state;
  thread.op = op;
  thread.site = site;
  go_on();
}

void Block::make_ready(Thread& thread) {
  thread.state = State::ready;
  const size_t end = first_ready_ + ready_count_++;
  ready_[end < ready_.size() ? end : end - ready_.size()] = &thread;
}

void Block::sync_threads(Site site) {
  if (done_ > 0) {
    const auto left =
        std::find_if(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::done; });
    fail(fmt::format("waits in __syncthreads() at {}:{}, which thread {} will not reach: it has left the kernel",
                     site.file, site.line, text(left->index)));
  }
  if (!at_barrier_.empty() && !(at_barrier_.front()->site == site)) {
    const Thread& other = *at_barrier_.front();
    fail(fmt::format("divergent barrier: it is at {}:{}, thread {} waits at {}:{}", site.file, site.line,
                     text(other.index), other.site.file, other.site.line));
  }
  if (at_barrier_.size() + 1 < threads_.size()) {
    at_barrier_.push_back(current_);
    wait(State::at_barrier, "__syncthreads()", site);
    return;
  }
  for (Thread* thread : at_barrier_) make_ready(*thread);
  at_barrier_.clear();
  events::barrier();
}

std::string Block::lanes_text(uint32_t lanes) const { return fmt::format("{:#010x}", lanes); }

void Block::fail_absent(const char* op, Site site, uint32_t mask) const {
  const unsigned own = current_->linear % kWarpSize, warp = current_->linear / kWarpSize;
  if (!(mask >> own & 1u)) {
    fail(fmt::format("{} at {}:{} with mask {}, which leaves out its own lane {}", op, site.file, site.line,
                     lanes_text(mask), own));
  }
  const int lane = __builtin_ctz(mask & ~warps_[warp].present);
  const bool in_block = size_t{warp} * kWarpSize + static_cast<size_t>(lane) < threads_.size();
  fail(fmt::format("{} at {}:{} with mask {}, whose lane {} {}", op, site.file, site.line, lanes_text(mask), lane,
                   in_block ? "has left the kernel" : "is not in the block"));
}

Meeting& Block::join(Warp& warp, const char* op, Site site, uint32_t mask) {
  for (Meeting& meeting : warp.meetings) {
    if ((meeting.mask & mask) == 0) continue;
    if (meeting.mask != mask) {
      fail(fmt::format("mask mismatch: {} at {}:{} with mask {}, while lanes {} wait in {} at {}:{} with mask {}", op,
                       site.file, site.line, lanes_text(mask), lanes_text(meeting.arrived), meeting.op,
                       meeting.site.file, meeting.site.line, lanes_text(meeting.mask)));
    }
    if ((meeting.op != op && std::strcmp(meeting.op, op) != 0) || !(meeting.site == site)) {
      fail(fmt::format("divergent warp: {} at {}:{}, while lanes {} wait in {} at {}:{}", op, site.file, site.line,
                       lanes_text(meeting.arrived), meeting.op, meeting.site.file, meeting.site.line));
    }
    return meeting;
  }
  Meeting& meeting = warp.meetings.emplace_back();
  meeting.op = op;
  meeting.site = site;
  meeting.mask = mask;
  meeting.arrived = 0;
  return meeting;
}

void Block::warp_meet(const char* op, Site site, uint32_t mask, void* operands, WarpCompute compute) {
  const unsigned lane = current_->linear % kWarpSize;
  Warp& warp = warps_[current_->linear / kWarpSize];
  if ((mask & ~warp.present) != 0 || !(mask >> lane & 1u)) fail_absent(op, site, mask);
  Meeting& meeting = join(warp, op, site, mask);
  meeting.lanes[lane] = operands;
  meeting.arrived |= 1u << lane;
  if (meeting.arrived != mask) {
    wait(State::in_meeting, op, site);
    return;
  }
  if (compute) compute(mask, meeting.lanes);
  events::lanes_meet(current_->linear / kWarpSize, mask, std::strcmp(op, kSyncWarp) == 0);
  Thread* const first = current_ - lane;
  for (uint32_t others = mask & ~(1u << lane); others != 0; others &= others - 1) {
    make_ready(first[__builtin_ctz(others)]);
  }
  if (&meeting != &warp.meetings.back()) meeting = warp.meetings.back();
  warp.meetings.pop_back();
}

void* Block::static_shared(const void* tag, const char* name, size_t bytes, size_t alignment) {
  void* memory = shared_.variable(tag, name, bytes, alignment);
  if (!memory) {
    fail(fmt::format("its __shared__ variables pass the {} bytes that a block may have",
                     SharedMemory::kMostStaticBytes));
  }
  return memory;
}

void Block::fail(const std::string& message) const {
  std::fprintf(stderr, "kernel %s (launched at %s:%d), block %s, thread %s: %s\n", kernel_name(*launch_).c_str(),
               launch_->file, launch_->line, text(index_).c_str(), text(current_->index).c_str(), message.c_str());
  std::abort();
}

void Block::fail_deadlock() const {
  std::string waiting;
  int named = 0;
  for (const Thread& thread : threads_) {
    if (thread.state != State::at_barrier && thread.state != State::in_meeting) continue;
    if (++named > 4) {
      waiting += ", …";
      break;
    }
    waiting += fmt::format("{}{} in {} at {}:{}", named > 1 ? ", " : "", text(thread.index), thread.op,
                           thread.site.file, thread.site.line);
  }
  fail("deadlock: no thread of the block can go on; " + waiting);
}

}  // namespace

Dim3 thread_index() { return block().current().index; }
Dim3 block_index() { return block().index(); }
Dim3 block_dim() { return block().launch().block; }
Dim3 grid_dim() { return block().launch().grid; }
void sync_threads(Site site) {
  const events::Pause pause;
  block().sync_threads(site);
}
std::span<std::byte> dynamic_shared_bytes() { return block().dynamic_shared(); }
void* static_shared(const void* tag, const char* name, size_t bytes, size_t alignment) {
  const events::Pause pause;
  return block().static_shared(tag, name, bytes, alignment);
}
bool is_shared(const void* p, size_t bytes) { return block().is_shared(static_cast<const std::byte*>(p), bytes); }
AsyncCopies& async_copies() { return block().async_copies(); }
int lane_id() { return static_cast<int>(block().current().linear % kWarpSize); }
void warp_meet(const char* op, Site site, uint32_t mask, void* operands, WarpCompute compute) {
  const events::Pause pause;
  block().warp_meet(op, site, mask, operands, compute);
}
void fail(const char* message) { block().fail(message); }

void run_block(const Launch& launch, const Dim3& index) { block_of_this_thread().run(launch, index); }

}  // namespace striate::gpu::host
