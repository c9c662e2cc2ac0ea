#pragma once

#include "engine/distributed/options.h"

namespace striate::test {

/// All ranks of this test program; connected once, in main().
Communicator& ranks();
/// For values of that device: on a machine with a GPU for each rank its communicator is NCCL's.
Ranks ranks_on(Device device);

}  // namespace striate::test
