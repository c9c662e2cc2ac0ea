#include "engine/distributed/mpi_thread.h"

#include <algorithm>

#include "engine/profiler.h"
#include "kernels/error.h"

namespace striate::mpi {

namespace {
constexpr auto kNap = std::chrono::microseconds(20);

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

}  // namespace

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(fmt::format("{}: {}", call, std::string(text, static_cast<size_t>(length))));
}

// Starts what may start and looks at what has arrived; true where anything happened.
bool Thread::progress(std::vector<std::shared_ptr<Job>>& started, const MPI_Comm* comms) {
  bool moved = false;
  // A stage starts when all jobs before have started it, or have none of that number.
  size_t may_start = kStages;
  for (const auto& job : started) {
    if (!job->is_started && job->stage < may_start) {
      job->request = job->stages[job->stage].start(comms[job->stage]);
      if (job->stage == 0) job->begin = std::chrono::steady_clock::now();
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
    if (++job->stage < job->stages.size()) continue;
    // Several are under way at once: each is told of as if it had waited for the one before.
    Profiler::add_exchange(job->name, job->bytes, std::max(job->begin, idle_since_));
    idle_since_ = std::chrono::steady_clock::now();
  }
  return moved;
}

void Thread::run(std::promise<World> connected) {
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
      std::unique_lock lock(mutex_);
      if (started.empty()) work_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
      if (stop_ && started.empty() && jobs_.empty()) break;
      started.insert(started.end(), jobs_.begin(), jobs_.end());
      jobs_.clear();
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
      const std::lock_guard lock(mutex_);
      for (const auto& job : started) {
        if (!is_over(job)) continue;
        job->error = failure;
        job->is_done = true;
        for (Buffers::Buffer& buffer : job->buffers) buffers_.give_back(std::move(buffer));
        job->buffers.clear();
      }
      std::erase_if(started, is_over);
      done_.notify_all();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
  if (in_order_ && !failure) {
    for (MPI_Comm& comm : comms) MPI_Comm_free(&comm);
    MPI_Finalize();
  }
}

Thread::Thread() {
  std::promise<World> promise;
  std::future<World> connected = promise.get_future();
  thread_ = std::thread([this, promise = std::move(promise)]() mutable { run(std::move(promise)); });
  try {
    world_ = connected.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

Thread::~Thread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    in_order_ = std::uncaught_exceptions() == 0;
  }
  work_.notify_all();
  thread_.join();
}

Request Thread::submit(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(job);
  }
  work_.notify_all();
  return Request([this, job = std::move(job)] {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return job->is_done; });
    if (job->error) std::rethrow_exception(job->error);
  });
}

}  // namespace striate::mpi
