#include "kernels/thread_pool.h"

#include <sched.h>

#include <exception>
#include <system_error>
#include <utility>

#include "kernels/error.h"

namespace striate {

namespace {
// A worker looks for the next loop this many times before it sleeps, and a caller for its last workers: 10 to 100 µs,
// as the processor's pause is short or long (about 15 to 140 cycles), which covers the gap between two kernels of a
// step. Longer would take the core from the data workers.
constexpr int kSpins = 2000;

thread_local bool inside_task = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}
}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};  // a change means a new loop
  std::atomic<bool> stop{false};
  // Workers inside the loop in flight, and whether it still takes any. The caller closes it when no task is left and
  // waits for those inside alone: a worker that a busy machine wakes late costs nobody anything.
  static constexpr uint32_t kClosed = 1u << 31;
  std::atomic<uint32_t> gate{kClosed};
  // The loop in flight: written before the gate opens, read by those who came through it.
  void* fn = nullptr;
  Task task = nullptr;
  int64_t tasks = 0;
  std::atomic<int64_t> next{0};
  std::mutex run_mutex;
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    inside_task = true;
    for (int64_t t = next.fetch_add(1, std::memory_order_relaxed); t < tasks;
         t = next.fetch_add(1, std::memory_order_relaxed)) {
      try {
        task(fn, t);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside_task = false;
  }

  void end(std::vector<std::thread>& workers) {
    {
      std::lock_guard lock(mutex);
      stop.store(true, std::memory_order_release);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    for (auto& worker : workers) worker.join();
  }

  void join() {
    if (!(gate.fetch_add(1, std::memory_order_acquire) & kClosed)) work();
    if (gate.fetch_sub(1, std::memory_order_release) == (kClosed | 1u)) gate.notify_one();
  }

  void close_and_wait() {
    uint32_t inside = gate.fetch_or(kClosed, std::memory_order_acquire) | kClosed;
    for (int spins = 0; inside != kClosed; inside = gate.load(std::memory_order_acquire)) {
      if (++spins < kSpins) {
        relax();
      } else {
        gate.wait(inside, std::memory_order_acquire);
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  const int count = threads > 0 ? threads : available_cores();
  workers_.reserve(static_cast<size_t>(count - 1));
  for (int i = 1; i < count; ++i) {
    const auto work = [s = state_.get()] {
      uint64_t seen = 0;
      for (;;) {
        int spins = 0;
        while (s->generation.load(std::memory_order_acquire) == seen && ++spins < kSpins) relax();
        if (spins >= kSpins) {
          std::unique_lock lock(s->mutex);
          s->wake.wait(lock, [&] { return s->generation.load(std::memory_order_acquire) != seen; });
        }
        // In this order: who has seen the last generation sees that it is the end.
        seen = s->generation.load(std::memory_order_acquire);
        if (s->stop.load(std::memory_order_acquire)) return;
        s->join();
      }
    };
    try {
      workers_.emplace_back(work);
    } catch (const std::system_error& error) {
      state_->end(workers_);
      throw Error(
          fmt::format("thread pool: {} of {} threads could be started, then: {}; ask for fewer, or allow this process "
                      "more threads and memory",
                      i, count, error.what()));
    }
  }
}

ThreadPool::~ThreadPool() { state_->end(workers_); }

void ThreadPool::run_erased(int64_t tasks, void* fn, Task task) {
  State& s = *state_;
  if (workers_.empty() || tasks == 1 || inside_task) {
    for (int64_t t = 0; t < tasks; ++t) task(fn, t);
    return;
  }
  std::lock_guard one_loop(s.run_mutex);
  s.fn = fn;
  s.task = task;
  s.tasks = tasks;
  s.next.store(0, std::memory_order_relaxed);
  s.gate.fetch_and(~State::kClosed, std::memory_order_release);
  {
    std::lock_guard lock(s.mutex);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  s.wake.notify_all();
  s.work();
  s.close_and_wait();
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

}  // namespace striate
