// The processes of MPI. One thread makes all calls of MPI (mpi_thread.h), so that a library without support for threads
// will do, and looks with naps between whether something has arrived: a call of MPI that waits would keep a core busy
// that computes better.
//
// A sum over ranks is made here and not by MPI: each rank collects all ranks' values of its part, adds them in order of
// the ranks, and sends its part of the sums to everybody. That moves the least bytes there are (2·n·(K − 1)/K), and
// the order does not hang on the library's choice of algorithm.

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/distributed/communicator.h"
#include "engine/distributed/mpi_thread.h"
#include "engine/distributed/part_of.h"
#include "kernels/bfloat16.h"
#include "kernels/error.h"

namespace striate {

namespace {

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

class Mpi final : public Communicator {
 public:
  explicit Mpi(std::unique_ptr<mpi::Thread> thread)
      : Communicator(thread->world().rank, thread->world().size), thread_(std::move(thread)) {}

  std::string description() const override {
    return size() == 1 ? fmt::format("{}, one process", thread_->world().library)
                       : fmt::format("{}, rank {} of {}", thread_->world().library, rank(), size());
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
  mpi::Stage collect(std::shared_ptr<mpi::Job>& job, const float* all, float* sums, std::span<const int64_t> counts);

  std::unique_ptr<mpi::Thread> thread_;
};

// Every rank's values of this rank's part, summed up in `sums`, which may be that part of `all`.
template <typename T>
mpi::Stage Mpi::collect(std::shared_ptr<mpi::Job>& job, const float* all, float* sums,
                        std::span<const int64_t> counts) {
  const Blocks parts(counts);
  const auto r = static_cast<size_t>(rank());
  const int64_t own = counts[r], own_place = parts.places[r];
  const MPI_Datatype type = std::is_same_v<T, float> ? MPI_FLOAT : MPI_UINT16_T;
  // Nothing is sent from a rank to itself.
  Blocks sent = parts, received(std::vector<int64_t>(static_cast<size_t>(size()), own));
  sent.counts[r] = received.counts[r] = 0;
  job->buffers.push_back(thread_->buffers().take(static_cast<size_t>(own * size()) * sizeof(T)));
  T* const others = reinterpret_cast<T*>(job->buffers.back().data());
  T* rounded = nullptr;
  const int64_t n = parts.places.back() + parts.counts.back();
  if constexpr (!std::is_same_v<T, float>) {
    job->buffers.push_back(thread_->buffers().take(static_cast<size_t>(n) * sizeof(T)));
    rounded = reinterpret_cast<T*>(job->buffers.back().data());
  }
  mpi::Stage stage;
  stage.start = [=](MPI_Comm comm) {
    const void* from = all;
    if constexpr (!std::is_same_v<T, float>) {
      for (int64_t i = 0; i < n; ++i) rounded[i] = stored_as<T>(all[i]);
      from = rounded;
    }
    MPI_Request request = MPI_REQUEST_NULL;
    mpi::check(MPI_Ialltoallv(from, sent.counts.data(), sent.places.data(), type, others, received.counts.data(),
                              received.places.data(), type, comm, &request),
               "MPI_Ialltoallv");
    return request;
  };
  stage.finish = [=, rank = rank(), size = size()] { add_in_order(others, all + own_place, own, rank, size, sums); };
  return stage;
}

Request Mpi::start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) {
  auto job = std::make_shared<mpi::Job>("reduce_scatter", last_sent());
  job->stages.push_back(type == WireType::float32 ? collect<float>(job, all, mine, counts)
                                                  : collect<bfloat16>(job, all, mine, counts));
  return thread_->submit(std::move(job));
}

Request Mpi::start_all_reduce(float* values, int64_t n, WireType type) {
  auto job = std::make_shared<mpi::Job>("all_reduce", last_sent());
  const std::vector<int64_t> counts = part_sizes(n, size());
  const Blocks parts(counts);
  const auto r = static_cast<size_t>(rank());
  float* const sums = values + parts.places[r];
  const int64_t own = counts[r];
  if (type == WireType::float32) {
    job->stages.push_back(collect<float>(job, values, sums, counts));
    job->stages.push_back({[=](MPI_Comm comm) {
      MPI_Request request = MPI_REQUEST_NULL;
      mpi::check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, parts.counts.data(), parts.places.data(),
                                 MPI_FLOAT, comm, &request),
                 "MPI_Iallgatherv");
      return request;
    }});
    return thread_->submit(std::move(job));
  }
  job->stages.push_back(collect<bfloat16>(job, values, sums, counts));
  auto* const rounded = reinterpret_cast<bfloat16*>(job->buffers.back().data());
  job->stages.push_back({[=](MPI_Comm comm) {
                           bfloat16* const own_sums = rounded + parts.places[r];
                           for (int64_t i = 0; i < own; ++i) own_sums[i] = to_bfloat16(sums[i]);
                           MPI_Request request = MPI_REQUEST_NULL;
                           mpi::check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, rounded, parts.counts.data(),
                                                      parts.places.data(), MPI_UINT16_T, comm, &request),
                                      "MPI_Iallgatherv");
                           return request;
                         },
                         [=] {
                           for (int64_t i = 0; i < n; ++i) values[i] = to_float(rounded[i]);
                         }});
  return thread_->submit(std::move(job));
}

Request Mpi::start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) {
  const Blocks parts(bytes);
  std::byte* const place = static_cast<std::byte*>(all) + parts.places[static_cast<size_t>(rank())];
  auto job = std::make_shared<mpi::Job>("all_gather", last_sent());
  job->stages.push_back({[=, own = bytes[static_cast<size_t>(rank())]](MPI_Comm comm) {
    if (own > 0 && mine != place) std::memmove(place, mine, static_cast<size_t>(own));
    MPI_Request request = MPI_REQUEST_NULL;
    mpi::check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, parts.counts.data(), parts.places.data(),
                               MPI_BYTE, comm, &request),
               "MPI_Iallgatherv");
    return request;
  }});
  return thread_->submit(std::move(job));
}

Request Mpi::start_broadcast(void* values, int64_t bytes, int root) {
  auto job = std::make_shared<mpi::Job>("broadcast", last_sent());
  job->stages.push_back({[=, count = as_count(bytes)](MPI_Comm comm) {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi::check(MPI_Ibcast(values, count, MPI_BYTE, root, comm, &request), "MPI_Ibcast");
    return request;
  }});
  return thread_->submit(std::move(job));
}

void Mpi::wait_for_all() {
  auto job = std::make_shared<mpi::Job>("barrier", 0);
  job->stages.push_back({[](MPI_Comm comm) {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi::check(MPI_Ibarrier(comm, &request), "MPI_Ibarrier");
    return request;
  }});
  thread_->submit(std::move(job)).wait();
}

}  // namespace

std::unique_ptr<Communicator> connect_mpi() { return std::make_unique<Mpi>(std::make_unique<mpi::Thread>()); }

}  // namespace striate
