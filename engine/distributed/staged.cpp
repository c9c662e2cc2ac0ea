// A GPU's values through the host's memory and MPI: for the execution of CUDA kernels on the host, which checks what
// is done with NCCL on GPUs.

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "engine/copy.h"
#include "engine/distributed/communicator.h"

namespace striate {

namespace {

using Buffer = std::shared_ptr<std::vector<std::byte>>;

Buffer from_device(const void* values, size_t bytes) {
  auto buffer = std::make_shared<std::vector<std::byte>>(bytes);
  copy_bytes(buffer->data(), Device::cpu, values, Device::cuda, bytes);
  return buffer;
}

void to_device(void* values, const std::byte* from, size_t bytes) {
  copy_bytes(values, Device::cuda, from, Device::cpu, bytes);
}

size_t total(std::span<const int64_t> counts) {
  return static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
}

class Staged final : public Communicator {
 public:
  explicit Staged(Communicator& host) : Communicator(host.rank(), host.size()), host_(host) {}
  std::string description() const override { return host_.description() + ", by way of the host's memory"; }
  [[noreturn]] void abort(int exit_code) override {
    host_.abort(exit_code);
    std::_Exit(exit_code);
  }

 protected:
  Request start_all_reduce(float* values, int64_t n, WireType type) override {
    const size_t bytes = static_cast<size_t>(n) * sizeof(float);
    const Buffer buffer = from_device(values, bytes);
    return then(host_.all_reduce(reinterpret_cast<float*>(buffer->data()), n, type),
                [=] { to_device(values, buffer->data(), bytes); });
  }

  Request start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) override {
    const Buffer buffer = from_device(all, total(counts) * sizeof(float));
    const size_t own = static_cast<size_t>(counts[static_cast<size_t>(rank())]) * sizeof(float);
    const auto sums = std::make_shared<std::vector<std::byte>>(own);
    return then(host_.reduce_scatter(reinterpret_cast<float*>(buffer->data()), reinterpret_cast<float*>(sums->data()),
                                     counts, type),
                [=, keep = buffer] { to_device(mine, sums->data(), own); });
  }

  Request start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) override {
    const Buffer own = from_device(mine, static_cast<size_t>(bytes[static_cast<size_t>(rank())]));
    const auto gathered = std::make_shared<std::vector<std::byte>>(total(bytes));
    return then(host_.all_gather(own->data(), gathered->data(), bytes),
                [=, keep = own] { to_device(all, gathered->data(), gathered->size()); });
  }

  Request start_broadcast(void* values, int64_t bytes, int root) override {
    const Buffer buffer = from_device(values, static_cast<size_t>(bytes));
    return then(host_.broadcast(buffer->data(), bytes, root),
                [=] { to_device(values, buffer->data(), buffer->size()); });
  }

  void wait_for_all() override { host_.barrier(); }

 private:
  /// `finish` keeps the buffers till then.
  static Request then(Request request, std::function<void()> finish) {
    const auto shared = std::make_shared<Request>(std::move(request));
    return Request([shared, finish = std::move(finish)] {
      shared->wait();
      finish();
    });
  }

  Communicator& host_;
};

}  // namespace

std::unique_ptr<Communicator> staged_on_host(Communicator& host) { return std::make_unique<Staged>(host); }

}  // namespace striate
