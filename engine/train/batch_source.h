#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace striate {

/// A step's worth of samples.
struct Batch {
  Tensor images;      ///< [N,H,W,C] float32 or bfloat16, on the host or where the source was asked to put them; N is 0
                      ///< where a source delivers a part of every batch, and nothing is left of this one
  Tensor labels;      ///< [N] int32, on the host
  int64_t index = 0;  ///< of the batch in its epoch
  /// Each image's place in the epoch's order, those counted that were left out; a source that leaves none out may keep
  /// it empty.
  std::vector<int64_t> places{};
  /// Where each image is mixed from two: the class of the other one, [N] int32; undefined where none is.
  Tensor partner_labels{};
  float share = 1.0f;  ///< of `labels` in the mixture, the rest being partner_labels'
};

/// Of a batch that is divided among ranks, each of which holds its rows one behind the other's.
struct BatchShare {
  int64_t before = 0;  ///< rows of the ranks before this one
  int64_t all = 0;     ///< rows of all ranks
};

/// Where the trainer gets its batches from; deterministic: batch i of epoch e is the same whatever came before.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int64_t samples() const = 0;
  virtual int64_t batch_size() const = 0;
  /// Batches of an epoch, the last one possibly smaller. Where the batches are divided among ranks these three count
  /// whole ones, and next() gives this rank's rows, of which there may be none.
  int64_t batches() const { return (samples() + batch_size() - 1) / batch_size(); }
  /// Goes to a batch of an epoch (from 0).
  virtual void start(int64_t epoch, int64_t first_batch = 0) = 0;
  /// The next batch, or false at the epoch's end. `batch`'s tensors belong to the source until the next call.
  virtual bool next(Batch& batch) = 0;
};

}  // namespace striate
