#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/autograd.h"
#include "engine/distributed/options.h"
#include "engine/tensor.h"

namespace striate {

/// Sums the gradients of parameters over all ranks while the backward still computes others (Li et al. 2020, "PyTorch
/// Distributed", §3.2.3). They lie in buckets, in reverse order of the parameters, which is about the order in which a
/// backward completes them: a bucket that is complete is on its way as soon as those before it are.
class GradientReduction final : GradientListener {
 public:
  /// Parameters on the device of ranks.device; they keep their memory for gradients in the buckets till the end of
  /// this object.
  GradientReduction(std::vector<NamedTensor> parameters, const Ranks& ranks, const DistributedOptions& options);
  ~GradientReduction() override;
  GradientReduction(const GradientReduction&) = delete;
  GradientReduction& operator=(const GradientReduction&) = delete;

  /// While it lives, backwards of this thread complete the gradients of a step: its last backward, that is.
  class Overlap {
   public:
    explicit Overlap(GradientReduction& reduction) : listen_(reduction) {}

   private:
    ListenToGradients listen_;
  };

  /// Starts what was not complete (a parameter without a gradient here counts as zeros) and waits for all sums: each
  /// parameter's gradient is the ranks'. The same call on every rank, once a step.
  void finish();

  int64_t buckets() const { return static_cast<int64_t>(buckets_.size()); }
  /// Buckets that were on their way before finish() of the last step.
  int64_t overlapped() const { return overlapped_; }

 private:
  struct Bucket {
    Tensor values;
    std::vector<Tensor> parameters;
    size_t complete = 0;
    Request request;
  };

  void gradient_complete(TensorImpl& leaf) override;
  void start_complete();
  void start(Bucket& bucket);

  Ranks ranks_;
  WireType wire_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const TensorImpl*, size_t> bucket_of_;
  size_t started_ = 0;
  int64_t overlapped_ = 0;
};

}  // namespace striate
