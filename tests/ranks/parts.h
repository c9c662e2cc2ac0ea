#pragma once

#include <cstring>
#include <memory>
#include <utility>

#include "engine/distributed/part_of.h"
#include "engine/train/batch_source.h"

namespace striate::test {

/// One of several ranks' rows of each of a source's batches.
class PartOfSource : public BatchSource {
 public:
  PartOfSource(std::unique_ptr<BatchSource> whole, int part, int parts)
      : whole_(std::move(whole)), part_(part), parts_(parts) {}

  int64_t samples() const override { return whole_->samples(); }
  int64_t batch_size() const override { return whole_->batch_size(); }
  void start(int64_t epoch, int64_t first_batch = 0) override { whole_->start(epoch, first_batch); }
  bool next(Batch& batch) override {
    Batch whole;
    if (!whole_->next(whole)) return false;
    batch = whole;
    batch.images = rows_of<float>(whole.images);
    batch.labels = rows_of<int32_t>(whole.labels);
    return true;
  }

 private:
  template <typename T>
  Tensor rows_of(const Tensor& values) const {
    const Range rows = part_of(values.dim(0), part_, parts_);
    Shape shape = values.shape();
    const int64_t row = values.size() / shape[0];
    shape[0] = rows.size();
    Tensor part = Tensor::empty(shape, values.dtype());
    if (part.size() > 0) std::memcpy(part.data<T>(), values.data<T>() + rows.begin * row, part.bytes());
    return part;
  }

  std::unique_ptr<BatchSource> whole_;
  int part_, parts_;
};

}  // namespace striate::test
