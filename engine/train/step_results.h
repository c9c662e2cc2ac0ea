#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "engine/train/batch_loss.h"
#include "kernels/gpu/stream.h"
#include "kernels/step_result/step_result.h"

namespace striate {

/// Brings to the host what steps tell of their batches: with one copy a step, and one more for the norm where gradients
/// are clipped, which nobody waits for before the step is taken.
class StepResults {
 public:
  /// For steps of up to that many batches.
  StepResults(Device device, int64_t batches);
  ~StepResults();
  StepResults(const StepResults&) = delete;
  StepResults& operator=(const StepResults&) = delete;

  static constexpr int kSteps = 2;  ///< that can be under way

  /// Where the result of a batch of the step at hand is to be written, in the device's memory; on cuda the same place
  /// every step.
  StepResult* place(int64_t batch);
  /// Ends the step at hand, whose norm [1] may be undefined.
  void send(const Tensor& norm);

  struct Step {
    const StepResult* batches;
    float norm = std::numeric_limits<float>::quiet_NaN();
  };
  /// Waits for the oldest step that was sent and not taken; good until kSteps more are sent.
  Step take();

 private:
  struct Slot {
    StepResult* batches = nullptr;  // pinned on cuda; the norm comes behind them
    std::optional<gpu::Event> arrived;
    bool has_norm = false;
  };

  Device device_;
  size_t bytes_;
  Tensor at_hand_;  // on cuda: the results of the step at hand
  std::array<Slot, kSteps> slots_;
  std::vector<StepResult> memory_;  // of the slots on a host
  int64_t sent_ = 0, taken_ = 0;
};

}  // namespace striate
