#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace striate {

/// A fixed set of threads that run one parallel loop at a time.
/// Work is split by index, never by which thread is free first, so a result that depends only on
/// (index range → value) is the same for every number of threads.
class ThreadPool {
 public:
  /// `threads` ≥ 1 counts the calling thread; 0 takes all cores allowed. Throws Error if the system starts fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls fn(task) for every task in [0, tasks), task by task from a shared counter; returns when all are
  /// done. The first exception thrown by a task is rethrown here. Not reentrant: within a task of any pool
  /// run() calls fn inline, one task after another.
  template <typename Fn>
  void run(int64_t tasks, Fn&& fn) {
    if (tasks <= 0) return;
    using F = std::remove_reference_t<Fn>;
    run_erased(tasks, const_cast<void*>(static_cast<const void*>(&fn)),
               [](void* f, int64_t task) { (*static_cast<F*>(f))(task); });
  }

  /// Splits [0, n) into consecutive ranges of at least `grain` items, a multiple of `grain` but for the last,
  /// and calls fn(begin, end) for each. The split depends on n, grain and size() only.
  template <typename Fn>
  void parallel_for(int64_t n, int64_t grain, Fn&& fn) {
    if (n <= 0) return;
    const int64_t grains = (n + grain - 1) / grain;
    // Four ranges a thread: a late thread costs a quarter of its share at the most.
    const int64_t tasks = size() == 1 ? 1 : std::min<int64_t>(grains, 4 * size());
    run(tasks, [&](int64_t t) {
      const int64_t begin = grains * t / tasks * grain;
      const int64_t end = std::min(n, grains * (t + 1) / tasks * grain);
      if (begin < end) fn(begin, end);
    });
  }

 private:
  using Task = void (*)(void*, int64_t);
  struct State;
  void run_erased(int64_t tasks, void* fn, Task task);
  std::unique_ptr<State> state_;
  std::vector<std::thread> workers_;
};

}  // namespace striate
