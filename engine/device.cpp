#include "engine/device.h"

#include <array>
#include <memory>

#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

namespace striate {

namespace {

constexpr std::array<const char*, 3> kPrecisions{"fp32", "tf32", "bf16"};  // in Precision's order
constexpr int kOldestGpu = 80;  // the first with cp.async and bfloat16 products

/// The process's compute threads and the contexts that share them.
struct Runtime {
  std::unique_ptr<ThreadPool> threads = std::make_unique<ThreadPool>(0);
  HostWorkspace workspace;
  Context reference{threads.get(), &workspace, Precision::fp32};
  Context cpu{threads.get(), &workspace, Precision::fp32};
};

Runtime& runtime() {
  static Runtime instance;
  return instance;
}

void require_gpu() {
  require<CudaError>(gpu::available(),
                     "device cuda: no GPU was found; it needs an NVIDIA GPU and its driver (nvidia-smi lists both), or "
                     "use --device cpu");
  const gpu::DeviceProperties& gpu = gpu::properties();
  require<CudaError>(gpu.compute_capability >= kOldestGpu,
                     "device cuda: {} has compute capability {}.{}; the kernels need 8.0 or newer; use --device cpu",
                     gpu.name, gpu.compute_capability / 10, gpu.compute_capability % 10);
}

/// One stream for all work, so that memory can be reused in the order in which it was freed.
struct CudaRuntime {
  CudaRuntime() {
    require_gpu();
    const float value = 1.0f;
    one = static_cast<float*>(gpu::allocate(sizeof(value), gpu::MemoryKind::device));
    gpu::copy(one, &value, sizeof(value), stream);
    stream.synchronize();
  }
  ~CudaRuntime() { gpu::release(one, gpu::MemoryKind::device); }
  CudaRuntime(const CudaRuntime&) = delete;
  CudaRuntime& operator=(const CudaRuntime&) = delete;

  gpu::Stream stream;
  gpu::GpuWorkspace workspace{gpu::MemoryKind::device};
  Context context{nullptr, &workspace, Precision::fp32, &stream};
  float* one = nullptr;
};

CudaRuntime& cuda_runtime() {
  // Never destroyed: at the end of the process the driver may be gone first.
  static auto* instance = new CudaRuntime;
  return *instance;
}

}  // namespace

Device parse_device(const std::string& name) {
  if (name == "auto") return gpu::built_for_gpu() && gpu::available() ? Device::cuda : Device::cpu;
  if (name == "cpu") return Device::cpu;
  if (name == "reference") return Device::reference;
  require<ConfigError>(name == "cuda", "device '{}': expected auto, cpu, reference or cuda", name);
  require_gpu();
  return Device::cuda;
}

std::string to_string(Device device) {
  switch (device) {
    case Device::reference:
      return "reference";
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
  }
  return "?";
}

std::string device_notice(Device device) {
  if (device != Device::cuda) return "";
  if (gpu::built_for_gpu()) return fmt::format("Device cuda: {}", gpu::properties().name);
  return "Device cuda: this build is not for GPUs. The CUDA kernels are executed on the host, thread by thread, "
         "to check them; --device cpu is many times faster.";
}

Precision parse_precision(const std::string& name) {
  for (size_t i = 0; i < kPrecisions.size(); ++i) {
    if (name == kPrecisions[i]) return static_cast<Precision>(i);
  }
  throw ConfigError(fmt::format("precision '{}': expected {}", name, fmt::join(kPrecisions, ", ")));
}

std::string to_string(Precision precision) { return kPrecisions[static_cast<size_t>(precision)]; }

void check_precision(Device device, Precision precision) {
  require<ConfigError>(device == Device::cuda || precision != Precision::tf32,
                       "precision tf32: device {} computes in fp32 or bf16; use one of these, or device cuda",
                       to_string(device));
}

void set_precision(Device device, Precision precision) {
  check_precision(device, precision);
  context(device).precision = precision;
}

void set_num_threads(int threads) {
  require<ConfigError>(threads >= 0, "threads: expected 0 (all cores) or more, found {}", threads);
  Runtime& r = runtime();
  r.threads = std::make_unique<ThreadPool>(threads);
  r.reference.threads = r.cpu.threads = r.threads.get();
}

int num_threads() { return runtime().threads->size(); }

Context& context(Device device) {
  switch (device) {
    case Device::reference:
      return runtime().reference;
    case Device::cpu:
      break;
    case Device::cuda:
      return cuda_runtime().context;
  }
  return runtime().cpu;
}

float* one_on_cuda() { return cuda_runtime().one; }

void synchronize(Device device) {
  if (device == Device::cuda) context(device).stream->synchronize();
}

}  // namespace striate
