#include "engine/distributed/communicator.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace striate {

namespace {
int number_of(std::initializer_list<const char*> variables, int otherwise) {
  for (const char* name : variables) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return otherwise;
}

int64_t sum_of(std::span<const int64_t> counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

int64_t offset_of(std::span<const int64_t> counts, int rank) { return sum_of(counts.first(static_cast<size_t>(rank))); }

void check_counts(const char* what, std::span<const int64_t> counts, int size) {
  const bool fits = static_cast<int>(counts.size()) == size &&
                    std::all_of(counts.begin(), counts.end(), [](int64_t count) { return count >= 0; });
  require<ShapeError>(fits, "{}: expected a count of 0 or more for each of {} ranks", what, size);
}

class SingleProcess final : public Communicator {
 public:
  SingleProcess() : Communicator(0, 1) {}
  std::string description() const override { return "one process"; }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }

 protected:
  Request start_all_reduce(float*, int64_t, WireType) override { return {}; }
  Request start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType) override {
    if (mine != all && counts[0] > 0) std::memmove(mine, all, static_cast<size_t>(counts[0]) * sizeof(float));
    return {};
  }
  Request start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) override {
    if (mine != all && bytes[0] > 0) std::memmove(all, mine, static_cast<size_t>(bytes[0]));
    return {};
  }
  Request start_broadcast(void*, int64_t, int) override { return {}; }
  void wait_for_all() override {}
};
}  // namespace

void Request::wait() {
  if (wait_) std::exchange(wait_, nullptr)();
}

Request& Request::operator=(Request&& other) noexcept {
  finish();
  wait_ = std::exchange(other.wait_, nullptr);
  return *this;
}

void Request::finish() noexcept {
  try {
    wait();
  } catch (const std::exception&) {
    // Whoever ends by an error has told of one.
  }
}

std::string to_string(WireType type) { return type == WireType::float32 ? "fp32" : "bf16"; }
size_t size_of(WireType type) { return type == WireType::float32 ? 4 : 2; }

Request Communicator::all_reduce(float* values, int64_t n, WireType type) {
  require<ShapeError>(n >= 0, "all_reduce: {} values", n);
  if (size_ == 1 || n == 0) return {};
  // Each rank sums its part of the values: it gets the others' and sends them the sums.
  count(2 * n * (size_ - 1) / size_ * static_cast<int64_t>(size_of(type)));
  return start_all_reduce(values, n, type);
}

Request Communicator::reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) {
  check_counts("reduce_scatter", counts, size_);
  const int64_t own = counts[static_cast<size_t>(rank_)];
  count((sum_of(counts) - own) * static_cast<int64_t>(size_of(type)));
  return start_reduce_scatter(all, mine, counts, type);
}

Request Communicator::all_gather(const void* mine, void* all, std::span<const int64_t> bytes) {
  check_counts("all_gather", bytes, size_);
  count(bytes[static_cast<size_t>(rank_)] * (size_ - 1));
  return start_all_gather(mine, all, bytes);
}

Request Communicator::broadcast(void* values, int64_t bytes, int root) {
  require<ShapeError>(bytes >= 0 && root >= 0 && root < size_, "broadcast: {} bytes of rank {}; there are {} ranks",
                      bytes, root, size_);
  if (size_ == 1 || bytes == 0) return {};
  count(rank_ == root ? bytes * (size_ - 1) : 0);
  return start_broadcast(values, bytes, root);
}

void Communicator::count(int64_t bytes) {
  last_sent_ = bytes;
  bytes_sent_ += bytes;
}

void Communicator::barrier() {
  if (size_ > 1) wait_for_all();
}

// In digits of 12 bits: sums of 4096 of them are exact in float32.
void Communicator::sum_counts(std::span<int64_t> counts) {
  constexpr int kBits = 12, kDigits = 3;
  std::vector<float> digits;
  for (const int64_t count : counts) {
    require<Error>(count >= 0 && count >> (kBits * kDigits) == 0 && size_ <= 1 << kBits,
                   "sum_counts: {} of one of {} ranks is more than can be summed exactly", count, size_);
    for (int digit = 0; digit < kDigits; ++digit) {
      digits.push_back(static_cast<float>(count >> (kBits * digit) & ((1 << kBits) - 1)));
    }
  }
  all_reduce(digits.data(), static_cast<int64_t>(digits.size())).wait();
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = 0;
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      counts[i] = (counts[i] << kBits) + static_cast<int64_t>(digits[i * kDigits + static_cast<size_t>(digit)]);
    }
  }
}

std::vector<std::string> Communicator::gathered_texts(const std::string& mine) {
  const std::vector<int64_t> sizes = gathered(static_cast<int64_t>(mine.size()));
  std::string all(static_cast<size_t>(sum_of(sizes)), '\0');
  all_gather(mine.data(), all.data(), sizes).wait();
  std::vector<std::string> texts;
  for (int rank = 0; rank < size_; ++rank) {
    texts.push_back(
        all.substr(static_cast<size_t>(offset_of(sizes, rank)), static_cast<size_t>(sizes[static_cast<size_t>(rank)])));
  }
  return texts;
}

std::unique_ptr<Communicator> single_process() { return std::make_unique<SingleProcess>(); }

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

// Open MPI; MPICH and Intel MPI; Slurm's srun, which starts either.
int launched_ranks() { return number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}, 1); }
int launched_rank() { return number_of({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}, 0); }

}  // namespace striate
