#include "engine/device.h"

#include <memory>

#include "kernels/error.h"

namespace striate {

namespace {

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

}  // namespace

Device parse_device(const std::string& name) {
  if (name == "auto" || name == "cpu") return Device::cpu;
  if (name == "reference") return Device::reference;
  require<ConfigError>(name != "cuda",
                       "device cuda: this build has no CUDA kernels; use --device cpu (or auto), or reference");
  throw ConfigError(fmt::format("device '{}': expected auto, cpu or reference", name));
}

std::string to_string(Device device) { return device == Device::cpu ? "cpu" : "reference"; }

void set_num_threads(int threads) {
  require<ConfigError>(threads >= 0, "threads: expected 0 (all cores) or more, found {}", threads);
  Runtime& r = runtime();
  r.threads = std::make_unique<ThreadPool>(threads);
  r.reference.threads = r.cpu.threads = r.threads.get();
}

int num_threads() { return runtime().threads->size(); }

Context& context(Device device) { return device == Device::cpu ? runtime().cpu : runtime().reference; }

}  // namespace striate
