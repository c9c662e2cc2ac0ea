#include "engine/distributed/gradient_reduction.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/storage.h"

namespace striate {

namespace {
/// Gradients begin where an allocation of their own would begin.
constexpr int64_t kAlignment = 256 / sizeof(float);

int64_t aligned(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

/// Memory for a gradient within a bucket, which outlives it.
Tensor place_in(Tensor& bucket, int64_t begin, const Shape& shape) {
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = shape;
  impl->storage = std::make_shared<Storage>(bucket.data<float>() + begin,
                                            static_cast<size_t>(element_count(shape)) * sizeof(float), bucket.device());
  return Tensor(std::move(impl));
}
}  // namespace

GradientReduction::GradientReduction(std::vector<NamedTensor> parameters, const Ranks& ranks,
                                     const DistributedOptions& options)
    : ranks_(ranks), wire_(options.reduce) {
  std::reverse(parameters.begin(), parameters.end());
  const int64_t limit = std::max<int64_t>(options.bucket_bytes / static_cast<int64_t>(sizeof(float)), 1);
  for (size_t next = 0; next < parameters.size();) {
    Bucket bucket;
    std::vector<int64_t> places;
    int64_t n = 0;
    do {
      const Tensor& parameter = parameters[next++].tensor;
      bucket_of_[parameter.impl().get()] = buckets_.size();
      bucket.parameters.push_back(parameter);
      places.push_back(n);
      n += aligned(parameter.size());
    } while (next < parameters.size() && n + parameters[next].tensor.size() <= limit);
    bucket.values = Tensor::zeros({n}, DType::float32, bucket.parameters.front().device());
    for (size_t i = 0; i < places.size(); ++i) {
      TensorImpl& leaf = *bucket.parameters[i].impl();
      leaf.grad = place_in(bucket.values, places[i], leaf.shape);
      leaf.has_grad = false;
    }
    buckets_.push_back(std::move(bucket));
  }
}

GradientReduction::~GradientReduction() {
  for (Bucket& bucket : buckets_) {
    bucket.request = {};  // somebody still writes there
    for (Tensor& parameter : bucket.parameters) {
      parameter.impl()->grad = Tensor();
      parameter.impl()->has_grad = false;
    }
  }
}

void GradientReduction::gradient_complete(TensorImpl& leaf) {
  const auto found = bucket_of_.find(&leaf);
  if (found == bucket_of_.end()) return;
  ++buckets_[found->second].complete;
  start_complete();
}

// In order: it is the same on every rank, whatever a graph completes first.
void GradientReduction::start_complete() {
  while (started_ < buckets_.size() && buckets_[started_].complete == buckets_[started_].parameters.size()) {
    start(buckets_[started_++]);
  }
}

void GradientReduction::start(Bucket& bucket) {
  for (Tensor& parameter : bucket.parameters) {
    TensorImpl& leaf = *parameter.impl();
    if (!leaf.has_grad) leaf.grad.fill(0.0f);
    leaf.has_grad = true;
  }
  bucket.request = ranks_.device->all_reduce(bucket.values.data<float>(), bucket.values.size(), wire_);
}

void GradientReduction::finish() {
  overlapped_ = static_cast<int64_t>(started_);
  while (started_ < buckets_.size()) start(buckets_[started_++]);
  const ProfileScope profiled(Pass::wait, "gradients of all ranks");
  for (Bucket& bucket : buckets_) {
    bucket.request.wait();
    bucket.complete = 0;
  }
  started_ = 0;
}

}  // namespace striate
