#pragma once

#include <cstdint>
#include <vector>

#include "tools/network_flags.h"

namespace striate {

/// What training takes of a device's memory, in bytes.
struct TrainingMemory {
  int64_t tensors = 0;    ///< the most that tensors hold at once: weights, gradients, state, activations, the batch
  int64_t kept = 0;       ///< that the allocator keeps for reuse besides these
  int64_t workspace = 0;  ///< the kernels' scratch memory
  int64_t process = 0;    ///< besides: program, libraries, threads; right where nothing large was done before
  int64_t total() const { return tensors + kept + workspace; }  ///< without the process
};

/// Predicts what training takes at any batch size: it trains a network of that configuration for two steps with each of
/// two small batches, writes down every request for memory, and replays them at the sizes of another batch through an
/// allocator without memory. What the network, the optimizer, the engine and the device do is thereby in it, whatever
/// they do; a loader's batches, which it makes ahead, are not.
class MemoryRehearsal {
 public:
  /// Trains on the configuration's device, a batch of `largest` at the most: a smaller one need not be guessed.
  MemoryRehearsal(const NetworkSource& source, int64_t largest);

  TrainingMemory predict(int64_t batch) const;

 private:
  /// A request for so many bytes, or the return of an earlier request's block.
  struct Event {
    int64_t bytes = 0;
    int64_t freed = -1;  ///< which request's; −1 for a request
  };
  struct Trial {
    int64_t batch = 0, workspace = 0;
    std::vector<Event> events;
  };
  class Recorder;

  static Trial rehearse(const NetworkSource& source, int64_t batch);
  bool touched_only_ = true;  // on the host a page counts when it is written
  Trial small_, large_;
  int64_t process_ = 0;
};

}  // namespace striate
