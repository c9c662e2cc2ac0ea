#include "engine/step_state.h"

#include <array>
#include <cstring>
#include <type_traits>

#include "engine/allocator.h"
#include "engine/copy.h"

namespace striate {

namespace {

struct StepState {
  DropoutState dropout;
  UpdateState update;
};
static_assert(std::has_unique_object_representations_v<DropoutState>);

class DeviceStepState {
 public:
  StepState values;

  /// Where the device's kernels find `values`; sent there first where that is another memory.
  StepState* send(Device device) {
    if (on_host(device)) return &values;
    if (memory_ == nullptr) {  // kept for good
      memory_ = static_cast<StepState*>(allocator(device).allocate(sizeof(StepState)));
    }
    copy_bytes(memory_, device, &values, Device::cpu, sizeof(values));
    masks_sent_ = values.dropout;
    return memory_;
  }

  StepState* send_changed_masks(Device device) {
    const bool sent = memory_ != nullptr && std::memcmp(&masks_sent_, &values.dropout, sizeof(masks_sent_)) == 0;
    return sent ? memory_ : send(device);
  }

 private:
  StepState* memory_ = nullptr;  // of a device whose kernels don't read the host's
  DropoutState masks_sent_;
};

DeviceStepState& step_state(Device device) {
  static std::array<DeviceStepState, 3> states;
  return states[static_cast<size_t>(device)];
}

}  // namespace

DropoutState& dropout_state(Device device) { return step_state(device).values.dropout; }

const DropoutState* dropout_state_for_kernels(Device device) {
  return &step_state(device).send_changed_masks(device)->dropout;
}

const UpdateState* update_state_for_kernels(Device device, const UpdateState& state) {
  step_state(device).values.update = state;
  return &step_state(device).send(device)->update;
}

}  // namespace striate
