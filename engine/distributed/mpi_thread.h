#pragma once

#include <mpi.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/distributed/communicator.h"

/// The thread that makes a process's calls of MPI; for mpi.cpp alone.
namespace striate::mpi {

/// Throws Error with MPI's own text unless `code` says success.
void check(int code, const char* call);

/// Of a collective: each stage is a collective of MPI.
constexpr int kStages = 2;

/// Memory for what arrives, kept for the next: fresh pages cost more than the copy into them.
class Buffers {
 public:
  using Buffer = std::vector<std::byte>;

  Buffer take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto it = free_.lower_bound(bytes);
    if (it == free_.end() || it->first > 2 * bytes + 4096) return Buffer(bytes);  // the large ones are for the large
    Buffer buffer = std::move(it->second);
    free_.erase(it);
    return buffer;
  }
  void give_back(Buffer buffer) {
    const std::lock_guard lock(mutex_);
    const size_t size = buffer.size();
    free_.emplace(size, std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::multimap<size_t, Buffer> free_;
};

/// A collective of MPI, and what is to be computed of what arrived.
struct Stage {
  std::function<MPI_Request(MPI_Comm)> start;
  std::function<void()> finish{};
};

/// A collective of ours.
struct Job {
  const char* name;
  int64_t bytes;  // sent, as Communicator::bytes_sent() counts them
  std::chrono::steady_clock::time_point begin{};
  std::vector<Stage> stages{};
  std::vector<Buffers::Buffer> buffers{};
  size_t stage = 0;
  bool is_started = false;  // the stage
  MPI_Request request = MPI_REQUEST_NULL;
  bool is_done = false;
  std::exception_ptr error{};
};

struct World {
  int rank = 0, size = 1;
  std::string library;  ///< "MPI (Open MPI v4.1.4)"
};

/// Starts what it is given in order and looks again and again, with naps between, whether something has arrived.
class Thread {
 public:
  /// Throws Error where MPI does not start.
  Thread();
  /// Ends MPI together with the other ranks; but where an exception ends this one, which would wait for them.
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  const World& world() const { return world_; }
  Buffers& buffers() { return buffers_; }
  Request submit(std::shared_ptr<Job> job);

 private:
  void run(std::promise<World> connected);
  bool progress(std::vector<std::shared_ptr<Job>>& started, const MPI_Comm* comms);

  World world_;
  Buffers buffers_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<std::shared_ptr<Job>> jobs_;  // not taken up yet
  std::chrono::steady_clock::time_point idle_since_{};
  bool stop_ = false, in_order_ = true;  // in_order_: MPI is ended together with the others
  std::thread thread_;
};

}  // namespace striate::mpi
