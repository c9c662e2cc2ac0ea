// The processes of MPI. One thread makes all calls of MPI, so that a library without support for threads will do: it
// starts what it is given in order and looks again and again, with naps between, whether something has arrived. A call
// of MPI that waits would keep a core busy that computes better.
//
// A sum over ranks is made here and not by MPI: each rank collects all ranks' values of its part, adds them in order of
// the ranks, and sends its part of the sums to everybody. That moves the least bytes there are (2·n·(K − 1)/K), and
// the order does not hang on the library's choice of algorithm.

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/distributed/communicator.h"
#include "engine/distributed/part_of.h"
#include "kernels/bfloat16.h"
#include "kernels/error.h"

namespace striate {

namespace {

constexpr auto kNap = std::chrono::microseconds(20);
/// Of a collective: each stage is a collective of MPI.
constexpr int kStages = 2;

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(fmt::format("{}: {}", call, std::string(text, static_cast<size_t>(length))));
}

/// MPI counts in int.
int as_count(int64_t n) {
  require<Error>(n <= std::numeric_limits<int>::max(),
                 "MPI: {} values at once are more than it can count; give it less at a time", n);
  return static_cast<int>(n);
}

/// Counts and places of blocks that lie one behind the other.
struct Blocks {
  std::vector<int> counts, places;

  explicit Blocks(std::span<const int64_t> sizes) {
    int64_t place = 0;
    for (const int64_t size : sizes) {
      counts.push_back(as_count(size));
      places.push_back(as_count(place));
      place += size;
    }
    as_count(place);
  }
};

/// Memory for what arrives, kept for the next: fresh pages cost more than the copy into them.
class Buffers {
 public:
  using Buffer = std::vector<std::byte>;

  Buffer take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto it = free_.lower_bound(bytes);
    if (it == free_.end()) return Buffer(bytes);
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

struct Stage {
  std::function<MPI_Request(MPI_Comm)> start;
  std::function<void()> finish{};  // what is to be computed of what arrived
};

struct Job {
  std::vector<Stage> stages;
  std::vector<Buffers::Buffer> buffers{};
  size_t stage = 0;
  bool is_started = false;  // the stage
  MPI_Request request = MPI_REQUEST_NULL;
  bool is_done = false;
  std::exception_ptr error{};
};

/// sum[i] = Σ over ranks, in their order. `others` [ranks · n] holds theirs, this rank's own lies in `own`.
template <typename T>
void add_in_order(const T* others, const float* own, int64_t n, int rank, int size, float* sum) {
  constexpr int64_t kBlock = 4096;  // stays in the first cache while it is added to
  float total[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t length = std::min(kBlock, n - begin);
    for (int r = 0; r < size; ++r) {
      if (r == rank) {
        // As the others have it of us.
        for (int64_t i = 0; i < length; ++i) {
          const float value = to_float(stored_as<T>(own[begin + i]));
          total[i] = r == 0 ? value : total[i] + value;
        }
      } else {
        const T* const block = others + r * n + begin;
        for (int64_t i = 0; i < length; ++i) {
          const float value = to_float(block[i]);
          total[i] = r == 0 ? value : total[i] + value;
        }
      }
    }
    std::memcpy(sum + begin, total, static_cast<size_t>(length) * sizeof(float));
  }
}

struct World {
  int rank = 0, size = 1;
  std::string library;
};

struct MpiThread {
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<std::shared_ptr<Job>> jobs;  // not done, in order
  bool stop = false, in_order = true;     // in_order: MPI may be ended together with the others
  Buffers buffers;
  std::thread thread;

  void run(std::promise<World> connected);
  bool progress(std::vector<std::shared_ptr<Job>>& started, const MPI_Comm* comms);
};

World start_mpi(MPI_Comm* comms) {
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  World world;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &world.size), "MPI_Comm_size");
  // A lane for each stage: within one, collectives start in the same order on every rank.
  for (int stage = 0; stage < kStages; ++stage) check(MPI_Comm_dup(MPI_COMM_WORLD, &comms[stage]), "MPI_Comm_dup");
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  world.library = std::string(text, static_cast<size_t>(length));
  world.library = "MPI (" + world.library.substr(0, world.library.find_first_of(",\n")) + ")";
  return world;
}

// Starts what may start and looks at what has arrived; true where anything happened.
bool MpiThread::progress(std::vector<std::shared_ptr<Job>>& started, const MPI_Comm* comms) {
  bool moved = false;
  // A stage starts when all jobs before have started it, or have none of that number.
  size_t may_start = kStages;
  for (const auto& job : started) {
    if (!job->is_started && job->stage < may_start) {
      job->request = job->stages[job->stage].start(comms[job->stage]);
      job->is_started = moved = true;
    }
    const size_t begun = job->stage + (job->is_started ? 1 : 0);
    if (begun < job->stages.size()) may_start = std::min(may_start, begun);
  }
  for (const auto& job : started) {
    if (!job->is_started) continue;
    int arrived = 0;
    check(MPI_Test(&job->request, &arrived, MPI_STATUS_IGNORE), "MPI_Test");
    if (arrived == 0) continue;
    moved = true;
    if (job->stages[job->stage].finish) job->stages[job->stage].finish();
    job->is_started = false;
    ++job->stage;
  }
  return moved;
}

void MpiThread::run(std::promise<World> connected) {
  MPI_Comm comms[kStages];
  try {
    connected.set_value(start_mpi(comms));
  } catch (...) {
    connected.set_exception(std::current_exception());
    return;
  }
  std::vector<std::shared_ptr<Job>> started;
  std::exception_ptr failure;
  while (true) {
    {
      std::unique_lock lock(mutex);
      if (started.empty()) work.wait(lock, [&] { return stop || !jobs.empty(); });
      if (stop && started.empty() && jobs.empty()) break;
      started.insert(started.end(), jobs.begin(), jobs.end());
      jobs.clear();
    }
    bool moved = false;
    try {
      if (failure) std::rethrow_exception(failure);
      moved = progress(started, comms);
    } catch (...) {
      failure = std::current_exception();  // nor can anything that comes later be counted on
    }
    const auto is_over = [&](const std::shared_ptr<Job>& job) { return failure || job->stage == job->stages.size(); };
    if (moved || failure) {
      const std::lock_guard lock(mutex);
      for (const auto& job : started) {
        if (!is_over(job)) continue;
        job->error = failure;
        job->is_done = true;
        for (Buffers::Buffer& buffer : job->buffers) buffers.give_back(std::move(buffer));
        job->buffers.clear();
      }
      std::erase_if(started, is_over);
      done.notify_all();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
  if (in_order && !failure) {
    for (MPI_Comm& comm : comms) MPI_Comm_free(&comm);
    MPI_Finalize();
  }
}

class Mpi final : public Communicator {
 public:
  /// Of the process's thread of MPI, which ends with this.
  static std::unique_ptr<Mpi> connect();
  Mpi(const World& world, std::shared_ptr<MpiThread> thread)
      : Communicator(world.rank, world.size), library_(world.library), thread_(std::move(thread)) {}
  ~Mpi() override;

  std::string description() const override {
    return size() == 1 ? fmt::format("{}, one process", library_)
                       : fmt::format("{}, rank {} of {}", library_, rank(), size());
  }
  [[noreturn]] void abort(int exit_code) override {
    // From whatever thread: there is no way back from here.
    if (size() > 1) MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 protected:
  Request start_all_reduce(float* values, int64_t n, WireType type) override;
  Request start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) override;
  Request start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) override;
  Request start_broadcast(void* values, int64_t bytes, int root) override;
  void wait_for_all() override;

 private:
  template <typename T>
  Stage collect(std::shared_ptr<Job>& job, const float* all, float* sums, std::span<const int64_t> counts);
  Request submit(std::shared_ptr<Job> job);

  std::string library_;
  std::shared_ptr<MpiThread> thread_;
};

std::unique_ptr<Mpi> Mpi::connect() {
  auto thread = std::make_shared<MpiThread>();
  std::promise<World> promise;
  std::future<World> connected = promise.get_future();
  thread->thread =
      std::thread([raw = thread.get(), promise = std::move(promise)]() mutable { raw->run(std::move(promise)); });
  try {
    return std::make_unique<Mpi>(connected.get(), thread);
  } catch (...) {
    thread->thread.join();
    throw;
  }
}

// MPI_Finalize waits for the other ranks: where an error ends this one they would wait for each other.
Mpi::~Mpi() {
  {
    const std::lock_guard lock(thread_->mutex);
    thread_->stop = true;
    thread_->in_order = std::uncaught_exceptions() == 0;
  }
  thread_->work.notify_all();
  thread_->thread.join();
}

Request Mpi::submit(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(thread_->mutex);
    thread_->jobs.push_back(job);
  }
  thread_->work.notify_all();
  return Request([thread = thread_, job = std::move(job)] {
    std::unique_lock lock(thread->mutex);
    thread->done.wait(lock, [&] { return job->is_done; });
    if (job->error) std::rethrow_exception(job->error);
  });
}

// Every rank's values of this rank's part, summed up in `sums`, which may be that part of `all`.
template <typename T>
Stage Mpi::collect(std::shared_ptr<Job>& job, const float* all, float* sums, std::span<const int64_t> counts) {
  const Blocks parts(counts);
  const auto r = static_cast<size_t>(rank());
  const int64_t own = counts[r], own_place = parts.places[r];
  const MPI_Datatype type = std::is_same_v<T, float> ? MPI_FLOAT : MPI_UINT16_T;
  // Nothing is sent from a rank to itself.
  Blocks sent = parts, received(std::vector<int64_t>(static_cast<size_t>(size()), own));
  sent.counts[r] = received.counts[r] = 0;
  job->buffers.push_back(thread_->buffers.take(static_cast<size_t>(own * size()) * sizeof(T)));
  T* const others = reinterpret_cast<T*>(job->buffers.back().data());
  T* rounded = nullptr;
  const int64_t n = parts.places.back() + parts.counts.back();
  if constexpr (!std::is_same_v<T, float>) {
    job->buffers.push_back(thread_->buffers.take(static_cast<size_t>(n) * sizeof(T)));
    rounded = reinterpret_cast<T*>(job->buffers.back().data());
  }
  Stage stage;
  stage.start = [=](MPI_Comm comm) {
    const void* from = all;
    if constexpr (!std::is_same_v<T, float>) {
      for (int64_t i = 0; i < n; ++i) rounded[i] = stored_as<T>(all[i]);
      from = rounded;
    }
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ialltoallv(from, sent.counts.data(), sent.places.data(), type, others, received.counts.data(),
                         received.places.data(), type, comm, &request),
          "MPI_Ialltoallv");
    return request;
  };
  stage.finish = [=, rank = rank(), size = size()] { add_in_order(others, all + own_place, own, rank, size, sums); };
  return stage;
}

Request Mpi::start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) {
  auto job = std::make_shared<Job>();
  job->stages.push_back(type == WireType::float32 ? collect<float>(job, all, mine, counts)
                                                  : collect<bfloat16>(job, all, mine, counts));
  return submit(std::move(job));
}

Request Mpi::start_all_reduce(float* values, int64_t n, WireType type) {
  auto job = std::make_shared<Job>();
  const std::vector<int64_t> counts = part_sizes(n, size());
  const Blocks parts(counts);
  const auto r = static_cast<size_t>(rank());
  float* const sums = values + parts.places[r];
  const int64_t own = counts[r];
  if (type == WireType::float32) {
    job->stages.push_back(collect<float>(job, values, sums, counts));
    job->stages.push_back({[=](MPI_Comm comm) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, parts.counts.data(), parts.places.data(),
                            MPI_FLOAT, comm, &request),
            "MPI_Iallgatherv");
      return request;
    }});
    return submit(std::move(job));
  }
  job->stages.push_back(collect<bfloat16>(job, values, sums, counts));
  auto* const rounded = reinterpret_cast<bfloat16*>(job->buffers.back().data());
  job->stages.push_back({[=](MPI_Comm comm) {
                           bfloat16* const own_sums = rounded + parts.places[r];
                           for (int64_t i = 0; i < own; ++i) own_sums[i] = to_bfloat16(sums[i]);
                           MPI_Request request = MPI_REQUEST_NULL;
                           check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, rounded, parts.counts.data(),
                                                 parts.places.data(), MPI_UINT16_T, comm, &request),
                                 "MPI_Iallgatherv");
                           return request;
                         },
                         [=] {
                           for (int64_t i = 0; i < n; ++i) values[i] = to_float(rounded[i]);
                         }});
  return submit(std::move(job));
}

Request Mpi::start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) {
  const Blocks parts(bytes);
  std::byte* const place = static_cast<std::byte*>(all) + parts.places[static_cast<size_t>(rank())];
  auto job = std::make_shared<Job>();
  job->stages.push_back({[=, own = bytes[static_cast<size_t>(rank())]](MPI_Comm comm) {
    if (own > 0 && mine != place) std::memmove(place, mine, static_cast<size_t>(own));
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, parts.counts.data(), parts.places.data(), MPI_BYTE,
                          comm, &request),
          "MPI_Iallgatherv");
    return request;
  }});
  return submit(std::move(job));
}

Request Mpi::start_broadcast(void* values, int64_t bytes, int root) {
  auto job = std::make_shared<Job>();
  job->stages.push_back({[=, count = as_count(bytes)](MPI_Comm comm) {
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ibcast(values, count, MPI_BYTE, root, comm, &request), "MPI_Ibcast");
    return request;
  }});
  return submit(std::move(job));
}

void Mpi::wait_for_all() {
  auto job = std::make_shared<Job>();
  job->stages.push_back({[](MPI_Comm comm) {
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ibarrier(comm, &request), "MPI_Ibarrier");
    return request;
  }});
  submit(std::move(job)).wait();
}

}  // namespace

std::unique_ptr<Communicator> connect_mpi() { return Mpi::connect(); }

}  // namespace striate
