// Takes the place of nccl.cpp in a build without NCCL.

#include "engine/distributed/communicator.h"
#include "kernels/error.h"

namespace striate {

std::unique_ptr<Communicator> connect_nccl(Communicator&) {
  throw ConfigError(
      "this build has no NCCL, which several ranks on GPUs need: install libnccl-dev (of Debian's non-free, or of "
      "NVIDIA's repository), then configure and build again; or use device cpu");
}

}  // namespace striate
