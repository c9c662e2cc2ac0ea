#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/distributed/communicator.h"
#include "kernels/gpu/device.h"

namespace striate {

namespace {

constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";

/// The GPUs that this process may see, as the variable has them.
std::vector<std::string> visible_gpus() {
  std::vector<std::string> gpus;
  if (const char* given = std::getenv(kVisible)) {
    const std::string text = given;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(',', at), text.size());
      gpus.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return gpus;
  }
  std::error_code none;
  for ([[maybe_unused]] const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    gpus.push_back(std::to_string(gpus.size()));
  }
  return gpus;
}

}  // namespace

void choose_gpu(Communicator& host) {
  if (!gpu::built_for_gpu() || host.size() == 1) return;
  const std::vector<std::string> hosts = host.gathered_texts(host_name());
  const auto before = std::count(hosts.begin(), hosts.begin() + host.rank(), hosts[static_cast<size_t>(host.rank())]);
  const std::vector<std::string> gpus = visible_gpus();
  if (gpus.size() < 2) return;  // the launcher has chosen, or there is no choice
  setenv(kVisible, gpus[static_cast<size_t>(before) % gpus.size()].c_str(), 1);
}

std::unique_ptr<Communicator> device_communicator(Communicator& host, Device device) {
  if (on_host(device)) return nullptr;
  return gpu::built_for_gpu() && host.size() > 1 ? connect_nccl(host) : staged_on_host(host);
}

}  // namespace striate
