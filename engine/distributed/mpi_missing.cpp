// Takes the place of mpi.cpp in a build without MPI.

#include "engine/distributed/communicator.h"
#include "kernels/error.h"

namespace striate {

std::unique_ptr<Communicator> connect_mpi() {
  throw ConfigError(
      "this build has no MPI, which training by several processes needs: install libopenmpi-dev and openmpi-bin, then "
      "configure and build again");
}

}  // namespace striate
