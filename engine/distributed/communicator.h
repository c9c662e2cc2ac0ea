#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/device.h"

namespace striate {

/// A collective that was started: until wait() returns its values are neither to be read, written nor freed. Its end
/// waits, too, so that an error on the way frees nothing that is still written to: declare it behind its memory.
class Request {
 public:
  Request() = default;  ///< done already
  explicit Request(std::function<void()> wait) : wait_(std::move(wait)) {}
  Request(Request&& other) noexcept : wait_(std::exchange(other.wait_, nullptr)) {}
  Request& operator=(Request&& other) noexcept;
  ~Request() { finish(); }
  /// On a host returns when the values are there; with NCCL the device's stream waits, the host does not. Throws Error
  /// for a failure of the collective. Calling it again does nothing.
  void wait();

 private:
  void finish() noexcept;
  std::function<void()> wait_;
};

/// What gradients are on their way from rank to rank. In bfloat16 each summand is rounded. By MPI the sum is float32's,
/// which all_reduce rounds once more to send it; NCCL rounds the sum of every two.
enum class WireType { float32, bfloat16 };
std::string to_string(WireType type);
size_t size_of(WireType type);

/// The processes ("ranks", 0 to size − 1) that train one network together, and what they exchange. All ranks start the
/// same collectives in the same order; what was started is under way while the caller goes on. Sums are made in order
/// of the ranks: every rank gets the same bits, and gets them again in the next run. (NCCL has its own order, and does
/// not promise the next run.) Not for several threads at once.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// "MPI (Open MPI v4.1.4), rank 1 of 4".
  virtual std::string description() const = 0;

  /// values [n] become the sums over the ranks.
  Request all_reduce(float* values, int64_t n, WireType type = WireType::float32);
  /// all [Σ counts] of every rank is summed; rank r gets sums of the r-th counts[r] of them in `mine`, which may lie
  /// within `all` at their place. The other values of `all` are undefined afterwards.
  Request reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type = WireType::float32);
  /// Every rank's bytes[rank] bytes one behind the other in `all`; `mine` may lie there already.
  Request all_gather(const void* mine, void* all, std::span<const int64_t> bytes);
  /// bytes of `root` go to every rank.
  Request broadcast(void* values, int64_t bytes, int root);
  /// Returns when every rank has called it.
  void barrier();

  /// all_gather() of as many values of each rank, waited for: [size].
  template <typename T>
  std::vector<T> gathered(const T& mine);
  /// Each count becomes the sum of all ranks', exactly. For counts below 2^36 and up to 4096 ranks.
  void sum_counts(std::span<int64_t> counts);
  /// The texts of all ranks.
  std::vector<std::string> gathered_texts(const std::string& mine);

  /// Handed to other ranks by this one since it was made: of each collective what the fewest messages need, an
  /// all_reduce of n bytes being 2·n·(size − 1)/size.
  int64_t bytes_sent() const { return bytes_sent_; }

  /// Ends all ranks, this one with that exit code, and says nothing.
  [[noreturn]] virtual void abort(int exit_code) = 0;

 protected:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}

  /// The arguments are checked. The first and the fourth are called only where size() > 1.
  virtual Request start_all_reduce(float* values, int64_t n, WireType type) = 0;
  virtual Request start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) = 0;
  virtual Request start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) = 0;
  virtual Request start_broadcast(void* values, int64_t bytes, int root) = 0;
  virtual void wait_for_all() = 0;
  /// Of bytes_sent() what the collective at hand adds.
  int64_t last_sent() const { return last_sent_; }

 private:
  void count(int64_t bytes);

  int rank_, size_;
  int64_t bytes_sent_ = 0, last_sent_ = 0;
};

/// One process alone: every collective is done at once, a sum of one.
std::unique_ptr<Communicator> single_process();

/// The processes that mpirun or another launcher of MPI started together; one alone where none did. To be called once a
/// process. Values lie in the host's memory. Throws ConfigError naming the package in a build without MPI, Error where
/// MPI does not start.
std::unique_ptr<Communicator> connect_mpi();

/// Of values in device cuda's memory, which go through the host's and `host`, which outlives it. The host waits for the
/// device's work before each collective.
std::unique_ptr<Communicator> staged_on_host(Communicator& host);
/// Of values in the memory of the ranks' GPUs, of which each rank has its own: by NCCL, connected through `host`, which
/// outlives it. Sums have NCCL's order (nccl.cpp). Throws ConfigError on every rank where two share a GPU, in a build
/// for no GPU, and, naming the package, in one without NCCL.
std::unique_ptr<Communicator> connect_nccl(Communicator& host);
/// Which of the two values in the device's memory go through; null where that is `host` itself.
std::unique_ptr<Communicator> device_communicator(Communicator& host, Device device);
/// Gives each rank of a host another of its GPUs to see, by CUDA_VISIBLE_DEVICES; where the launcher left it but one to
/// see, that. For all ranks together, before any of them asks for a GPU. Does nothing in a host build.
void choose_gpu(Communicator& host);

/// By the launcher's environment, without MPI: how many processes it started together; 1 where there is none.
int launched_ranks();
/// This process's number among them.
int launched_rank();
/// This machine's, by which ranks tell hosts apart.
std::string host_name();

template <typename T>
std::vector<T> Communicator::gathered(const T& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(static_cast<size_t>(size_));
  const std::vector<int64_t> bytes(static_cast<size_t>(size_), static_cast<int64_t>(sizeof(T)));
  all_gather(&mine, all.data(), bytes).wait();
  return all;
}

}  // namespace striate
