#pragma once

#include "engine/device.h"
#include "kernels/dropout/dropout.h"
#include "kernels/optimizer/optimizer.h"

namespace striate {

// What kernels read that changes from step to step. It lies where it lies for the whole process, in the device's
// memory, so that a captured step can be replayed for the next.

/// The state that dropout masks of a device hang on: set by whoever counts the steps (the trainer, or an optimizer's
/// step()). A backward must run before the state moves on.
DropoutState& dropout_state(Device device);
/// The same where the device's kernels read it. On cuda it is copied there, in the order of the device's work, when it
/// has changed since the last call.
const DropoutState* dropout_state_for_kernels(Device device);
/// Writes an optimizer's state where the device's kernels read it, and dropout_state(device) in the same copy. It is
/// good until the next call.
const UpdateState* update_state_for_kernels(Device device, const UpdateState& state);

}  // namespace striate
