#include "engine/train/step_results.h"

#include <cstring>

#include "engine/copy.h"
#include "kernels/error.h"
#include "kernels/gpu/memory.h"

namespace striate {

StepResults::StepResults(Device device, int64_t batches)
    : device_(device), bytes_(static_cast<size_t>(batches) * sizeof(StepResult)) {
  const size_t of_slot = bytes_ + sizeof(StepResult);  // and the norm
  if (on_host(device)) {
    memory_.resize(kSteps * of_slot / sizeof(StepResult));
    for (size_t s = 0; s < kSteps; ++s) slots_[s].batches = memory_.data() + s * (of_slot / sizeof(StepResult));
    return;
  }
  context(device);  // which says what is missing where there is no GPU
  at_hand_ = Tensor::empty({static_cast<int64_t>(bytes_)}, DType::uint8, device);
  for (Slot& slot : slots_) {
    slot.batches = static_cast<StepResult*>(gpu::allocate(of_slot, gpu::MemoryKind::pinned));
    slot.arrived.emplace();
  }
}

StepResults::~StepResults() {
  if (on_host(device_)) return;
  for (Slot& slot : slots_) gpu::release(slot.batches, gpu::MemoryKind::pinned);
}

StepResult* StepResults::place(int64_t batch) {
  if (!on_host(device_)) return reinterpret_cast<StepResult*>(at_hand_.data<uint8_t>()) + batch;
  return slots_[static_cast<size_t>(sent_ % kSteps)].batches + batch;
}

void StepResults::send(const Tensor& norm) {
  require<Error>(sent_ - taken_ < kSteps, "training step: {} are under way; take one first", kSteps);
  Slot& slot = slots_[static_cast<size_t>(sent_ % kSteps)];
  auto* place_of_norm = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(slot.batches) + bytes_);
  slot.has_norm = norm.defined();
  if (on_host(device_)) {
    if (slot.has_norm) *place_of_norm = norm.item();
  } else {
    gpu::Stream& stream = *context(device_).stream;
    gpu::copy(slot.batches, at_hand_.data<uint8_t>(), bytes_, stream);
    if (slot.has_norm) gpu::copy(place_of_norm, norm.data<float>(), sizeof(float), stream);
    slot.arrived->record(stream);
  }
  ++sent_;
}

StepResults::Step StepResults::take() {
  require<Error>(taken_ < sent_, "training step: none is under way");
  const Slot& slot = slots_[static_cast<size_t>(taken_++ % kSteps)];
  if (slot.arrived) slot.arrived->synchronize();
  Step step{slot.batches};
  if (slot.has_norm) std::memcpy(&step.norm, reinterpret_cast<const std::byte*>(slot.batches) + bytes_, sizeof(float));
  return step;
}

}  // namespace striate
