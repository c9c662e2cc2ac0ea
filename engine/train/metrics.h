#pragma once

#include <cstdint>
#include <vector>

#include "engine/distributed/communicator.h"
#include "engine/tensor.h"

namespace striate {

/// What a network does on a set of images. Fractions of the true number of samples.
struct Evaluation {
  int64_t images = 0;
  double loss = 0.0;  ///< mean cross-entropy, without label smoothing
  double top1 = 0.0, top5 = 0.0;
  double macro_f1 = 0.0;          ///< over the classes that occur as label or prediction
  std::vector<double> per_class;  ///< accuracy; NaN for a class without images
  /// [label][prediction]. An image with a NaN among its logits has no prediction: it is left out here, and counts as
  /// wrong everywhere else.
  std::vector<std::vector<int64_t>> confusion;
  double seconds = 0.0;
};

/// Collects an Evaluation batch by batch, sums in double.
class Metrics {
 public:
  explicit Metrics(int64_t classes);
  /// logits [N, classes], labels [N] int32, sample_loss [N], rank [N] int32 as ops::softmax_cross_entropy gives it.
  void add(const Tensor& logits, const Tensor& labels, const Tensor& sample_loss, const Tensor& rank);
  /// Adds what the other ranks have collected, on every rank.
  void add_other_ranks(Communicator& host);
  /// Of the same images on every rank: the loss becomes the first rank's, to the bit.
  void take_loss_of_first(Communicator& host);
  Evaluation result() const;

 private:
  int64_t classes_;
  int64_t images_ = 0, top1_ = 0, top5_ = 0;
  double loss_ = 0.0;
  std::vector<std::vector<int64_t>> confusion_;
  std::vector<int64_t> without_prediction_;  // by label
};

}  // namespace striate
