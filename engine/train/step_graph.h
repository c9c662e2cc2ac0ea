#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "engine/allocator.h"
#include "engine/train/batch_source.h"
#include "engine/train/step_input.h"
#include "engine/train/train_options.h"
#include "kernels/gpu/graph.h"

namespace striate {

/// The work of a training step on batches of one shape, captured after a few steps and replayed from then on: one
/// launch instead of dozens, the same bits. Batches of fewer images are worked on as they come.
class StepGraph {
 public:
  /// `full`: images of a batch that is to be captured. `obstacle`: why there is nothing to capture; empty where there
  /// is. `notice` is told, once, why steps are not captured.
  StepGraph(GraphMode mode, Device device, int64_t full, std::string obstacle,
            std::function<void(const std::string&)> notice);

  using Work = std::function<void(const Batch& on_device)>;
  /// Does the step's work on the batch, copied to the device: by calling `work`, or by a replay of what an earlier call
  /// launched. `work` launches the same each time for batches of one shape, and what changes from step to step it reads
  /// from the device's memory. `forget` undoes what a `work` that was captured in vain left on the host. Throws
  /// ConfigError where mode is `on` and steps cannot be captured.
  void run(const Batch& batch, const Work& work, const std::function<void()>& forget);

  /// What is replayed; null before there is anything.
  const gpu::Graph* graph() const { return graph_ ? &*graph_ : nullptr; }

 private:
  bool wanted(const Batch& batch);
  bool capture(const Work& work, const std::function<void()>& forget);
  void give_up(const std::string& reason);

  GraphMode mode_;
  Device device_;
  int64_t full_;
  std::string obstacle_;
  std::function<void(const std::string&)> notice_;
  std::optional<MemoryPool> pool_;
  std::optional<StepInput> input_;
  int steps_before_ = 0;  // of the captured shape
  std::optional<gpu::Graph> graph_;
  void* workspace_ = nullptr;  // where it was at the capture
};

}  // namespace striate
