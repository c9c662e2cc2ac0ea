#include "engine/train/metrics.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/error.h"

namespace striate {

Metrics::Metrics(int64_t classes)
    : classes_(classes),
      confusion_(static_cast<size_t>(classes), std::vector<int64_t>(static_cast<size_t>(classes), 0)),
      without_prediction_(static_cast<size_t>(classes), 0) {}

void Metrics::add(const Tensor& logits, const Tensor& labels, const Tensor& sample_loss, const Tensor& rank) {
  require<ShapeError>(logits.rank() == 2 && logits.dim(1) == classes_, "metrics: logits {}, expected [N,{}]",
                      to_string(logits.shape()), classes_);
  const Tensor host_logits = logits.to(Device::cpu), host_labels = labels.to(Device::cpu);
  const Tensor host_loss = sample_loss.to(Device::cpu), host_rank = rank.to(Device::cpu);
  const float* row = host_logits.data<float>();
  for (int64_t n = 0; n < logits.dim(0); ++n, row += classes_) {
    const int32_t place = host_rank.data<int32_t>()[n];
    // A row with a NaN has rank `classes`: never right, not even among the five of fewer than five classes.
    top1_ += place < 1;
    top5_ += place < std::min<int64_t>(5, classes_);
    loss_ += static_cast<double>(host_loss.data<float>()[n]);
    const auto label = static_cast<size_t>(host_labels.data<int32_t>()[n]);
    if (place >= classes_) {
      ++without_prediction_[label];
      continue;
    }
    // The first of equal logits, as the rank counts them.
    const auto prediction = static_cast<size_t>(std::max_element(row, row + classes_) - row);
    ++confusion_[label][prediction];
  }
  images_ += logits.dim(0);
}

void Metrics::add_other_ranks(Communicator& host) {
  std::vector<int64_t*> counts{&images_, &top1_, &top5_};
  for (int64_t& count : without_prediction_) counts.push_back(&count);
  for (auto& row : confusion_) {
    for (int64_t& count : row) counts.push_back(&count);
  }
  std::vector<int64_t> values;
  for (const int64_t* count : counts) values.push_back(*count);
  host.sum_counts(values);
  for (size_t i = 0; i < counts.size(); ++i) *counts[i] = values[i];
  const std::vector<double> losses = host.gathered(loss_);
  loss_ = std::accumulate(losses.begin(), losses.end(), 0.0);
}

void Metrics::take_loss_of_first(Communicator& host) { loss_ = host.gathered(loss_).front(); }

Evaluation Metrics::result() const {
  Evaluation result;
  result.images = images_;
  result.confusion = confusion_;
  const double all = static_cast<double>(std::max<int64_t>(images_, 1));
  result.loss = loss_ / all;
  result.top1 = static_cast<double>(top1_) / all;
  result.top5 = static_cast<double>(top5_) / all;

  double f1_sum = 0.0;
  int64_t f1_classes = 0;
  for (size_t c = 0; c < confusion_.size(); ++c) {
    int64_t labelled = without_prediction_[c], predicted = 0;
    for (size_t other = 0; other < confusion_.size(); ++other) {
      labelled += confusion_[c][other];
      predicted += confusion_[other][c];
    }
    const auto right = static_cast<double>(confusion_[c][c]);
    result.per_class.push_back(labelled > 0 ? right / static_cast<double>(labelled)
                                            : std::numeric_limits<double>::quiet_NaN());
    if (labelled + predicted > 0) {
      f1_sum += 2.0 * right / static_cast<double>(labelled + predicted);
      ++f1_classes;
    }
  }
  result.macro_f1 = f1_classes > 0 ? f1_sum / static_cast<double>(f1_classes) : 0.0;
  return result;
}

}  // namespace striate
