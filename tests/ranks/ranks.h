#pragma once

#include "engine/distributed/communicator.h"

namespace striate::test {

/// All ranks of this test program; connected once, in main().
Communicator& ranks();

}  // namespace striate::test
