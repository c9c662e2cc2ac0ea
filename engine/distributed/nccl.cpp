// The ranks' GPUs, by NCCL, on a stream of its own: a collective begins when the device's stream has done what it was
// given before, and wait() lets that stream wait, not the host. NCCL chooses the order of its sums by the number of
// values and by how the GPUs are linked. All ranks get the same bits; that the next run gets them again is not promised
// by its documentation. Its maintainers name rings and trees as deterministic on the same machines, and the sums that
// NVLink's switches make (NVLS) as not (NVIDIA/nccl, issue 1497): these are off unless NCCL_NVLS_ENABLE is set.

#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <numeric>
#include <stop_token>
#include <thread>

#include "engine/distributed/communicator.h"
#include "engine/tensor.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

namespace striate {

namespace {

void check(ncclResult_t result, const char* call) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw Error(fmt::format("{}: {}; set NCCL_DEBUG=WARN to hear more of it", call, ncclGetErrorString(result)));
}

/// Of ranks' parts that lie one behind the other.
int64_t place_of(std::span<const int64_t> counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

bool all_equal(std::span<const int64_t> counts) {
  return std::all_of(counts.begin(), counts.end(), [&](int64_t count) { return count == counts.front(); });
}

/// NCCL would wait for ever.
void require_gpu_each(Communicator& host) {
  const std::vector<std::string> gpus = host.gathered_texts(fmt::format("GPU {} of {}", gpu::bus_id(), host_name()));
  for (size_t rank = 0; rank < gpus.size(); ++rank) {
    const auto first = static_cast<size_t>(std::find(gpus.begin(), gpus.end(), gpus[rank]) - gpus.begin());
    require<ConfigError>(first == rank,
                         "ranks {} and {} would share {}, and NCCL wants one each: start as many ranks on a host as it "
                         "has GPUs (mpirun --map-by ppr:GPUS:node), or use device cpu",
                         first, rank, gpus[rank]);
  }
}

class Nccl final : public Communicator {
 public:
  explicit Nccl(Communicator& host);
  ~Nccl() override;

  std::string description() const override;
  [[noreturn]] void abort(int exit_code) override {
    host_.abort(exit_code);  // ends the processes, whatever their GPUs wait for
    std::_Exit(exit_code);
  }

 protected:
  Request start_all_reduce(float* values, int64_t n, WireType type) override;
  Request start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) override;
  Request start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) override;
  Request start_broadcast(void* values, int64_t bytes, int root) override;
  void wait_for_all() override;

 private:
  template <typename Enqueue>
  Request start(const Tensor& used, Enqueue&& enqueue);
  void sum_parts(const void* all, void* mine, ncclDataType_t type, size_t value_bytes, std::span<const int64_t> counts);
  void watch(const std::stop_token& stop);
  cudaStream_t native() const { return static_cast<cudaStream_t>(stream_.native()); }

  Communicator& host_;
  ncclComm_t comm_ = nullptr;
  gpu::Stream stream_;
  gpu::GpuWorkspace workspace_{gpu::MemoryKind::device};
  Context context_{nullptr, &workspace_, Precision::fp32, &stream_};
  std::jthread watch_;  // the last to be made, and the first to end
};

Nccl::Nccl(Communicator& host) : Communicator(host.rank(), host.size()), host_(host) {
  ncclUniqueId id{};
  if (rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  host.broadcast(&id, sizeof(id), 0).wait();
  check(ncclCommInitRank(&comm_, size(), id, rank()), "ncclCommInitRank");
  watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

// ncclCommDestroy waits for the other ranks: where an error ends this one they would wait for each other.
Nccl::~Nccl() {
  watch_ = {};
  if (std::uncaught_exceptions() > 0) {
    ncclCommAbort(comm_);
  } else {
    ncclCommDestroy(comm_);
  }
}

std::string Nccl::description() const {
  int version = 0;
  check(ncclGetVersion(&version), "ncclGetVersion");
  return fmt::format("NCCL {}.{}.{}, rank {} of {}", version / 10000, version / 100 % 100, version % 100, rank(),
                     size());
}

/// `used`: memory of the device's stream that is let go once that stream has waited.
template <typename Enqueue>
Request Nccl::start(const Tensor& used, Enqueue&& enqueue) {
  gpu::Event given;
  given.record(*context(Device::cuda).stream);
  stream_.wait(given);
  enqueue();
  const auto done = std::make_shared<gpu::Event>();
  done->record(stream_);
  return Request([done, used] { context(Device::cuda).stream->wait(*done); });
}

// A kernel that waits for a lost rank never ends, and the host waits behind it: somebody else must look.
void Nccl::watch(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    if (asked != ncclSuccess) state = asked;
    if (state != ncclSuccess && state != ncclInProgress) {
      std::fputs(
          fmt::format("{}: {}; set NCCL_DEBUG=WARN to hear more of it\n", description(), ncclGetErrorString(state))
              .c_str(),
          stderr);
      abort(1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

Request Nccl::start_all_reduce(float* values, int64_t n, WireType type) {
  const auto count = static_cast<size_t>(n);
  if (type == WireType::float32) {
    return start({}, [&] {
      check(ncclAllReduce(values, values, count, ncclFloat32, ncclSum, comm_, native()), "ncclAllReduce");
    });
  }
  Tensor rounded = Tensor::empty({n}, DType::bfloat16, Device::cuda);
  auto* const wire = rounded.data<bfloat16>();
  return start(rounded, [&] {
    cuda::float_to_bf16(values, wire, n, context_);
    check(ncclAllReduce(wire, wire, count, ncclBfloat16, ncclSum, comm_, native()), "ncclAllReduce");
    cuda::bf16_to_float(wire, values, n, context_);
  });
}

/// The sums of part r of `all` go to `mine` of rank r.
void Nccl::sum_parts(const void* all, void* mine, ncclDataType_t type, size_t value_bytes,
                     std::span<const int64_t> counts) {
  if (all_equal(counts)) {
    check(ncclReduceScatter(all, mine, static_cast<size_t>(counts.front()), type, ncclSum, comm_, native()),
          "ncclReduceScatter");
    return;
  }
  check(ncclGroupStart(), "ncclGroupStart");
  for (int root = 0; root < size(); ++root) {
    const auto count = static_cast<size_t>(counts[static_cast<size_t>(root)]);
    if (count == 0) continue;
    const auto* part = static_cast<const std::byte*>(all) + static_cast<size_t>(place_of(counts, root)) * value_bytes;
    check(ncclReduce(part, mine, count, type, ncclSum, root, comm_, native()), "ncclReduce");
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
}

Request Nccl::start_reduce_scatter(float* all, float* mine, std::span<const int64_t> counts, WireType type) {
  if (type == WireType::float32) return start({}, [&] { sum_parts(all, mine, ncclFloat32, sizeof(float), counts); });
  const int64_t n = place_of(counts, size()), own = counts[static_cast<size_t>(rank())];
  Tensor rounded = Tensor::empty({n}, DType::bfloat16, Device::cuda);
  auto* const wire = rounded.data<bfloat16>();
  return start(rounded, [&] {
    bfloat16* const own_part = wire + place_of(counts, rank());
    cuda::float_to_bf16(all, wire, n, context_);
    sum_parts(wire, own_part, ncclBfloat16, sizeof(bfloat16), counts);
    cuda::bf16_to_float(own_part, mine, own, context_);
  });
}

Request Nccl::start_all_gather(const void* mine, void* all, std::span<const int64_t> bytes) {
  return start({}, [&] {
    if (all_equal(bytes)) {
      check(ncclAllGather(mine, all, static_cast<size_t>(bytes.front()), ncclUint8, comm_, native()), "ncclAllGather");
      return;
    }
    check(ncclGroupStart(), "ncclGroupStart");
    for (int root = 0; root < size(); ++root) {
      const auto count = static_cast<size_t>(bytes[static_cast<size_t>(root)]);
      if (count == 0) continue;
      auto* const place = static_cast<std::byte*>(all) + place_of(bytes, root);
      check(ncclBroadcast(root == rank() ? mine : place, place, count, ncclUint8, root, comm_, native()),
            "ncclBroadcast");
    }
    check(ncclGroupEnd(), "ncclGroupEnd");
  });
}

Request Nccl::start_broadcast(void* values, int64_t bytes, int root) {
  return start({}, [&] {
    check(ncclBroadcast(values, values, static_cast<size_t>(bytes), ncclUint8, root, comm_, native()), "ncclBroadcast");
  });
}

void Nccl::wait_for_all() { host_.barrier(); }

}  // namespace

std::unique_ptr<Communicator> connect_nccl(Communicator& host) {
  require<ConfigError>(gpu::built_for_gpu(),
                       "NCCL sums between GPUs, and this build executes the CUDA kernels on the host: build the preset "
                       "cuda");
  require_gpu_each(host);
  setenv("NCCL_NVLS_ENABLE", "0", 0);
  return std::make_unique<Nccl>(host);
}

}  // namespace striate
