#include <algorithm>
#include <optional>
#include <vector>

#include "engine/train/evaluate.h"
#include "engine/train/trainer_run.h"
#include "engine/train/weights.h"

// A run's network on images that it is not trained on.

namespace striate {

// A batch norm's running statistics are each rank's own; the first rank's are the network's.
void Trainer::Run::share_buffers() {
  if (!several(ranks_)) return;
  std::vector<Request> under_way;
  for (NamedTensor& buffer : model_.named_buffers()) {
    float* const values = buffer.tensor.data<float>();
    under_way.push_back(ranks_.device->broadcast(values, static_cast<int64_t>(buffer.tensor.bytes()), 0));
  }
  for (Request& request : under_way) request.wait();
}

std::optional<Evaluation> Trainer::Run::measure(const char* part, BatchSource& source) {
  share_buffers();
  bool stopped = false;
  EvaluateOptions options;
  options.progress = [&](int64_t done, int64_t total) {
    tell([&](TrainObserver& o) { o.evaluation_progress(part, done, total); });
    stopped = to_stop();
    if (several(ranks_)) {
      const std::vector<char> of_ranks = ranks_.host->gathered(static_cast<char>(stopped));
      stopped = std::find(of_ranks.begin(), of_ranks.end(), 1) != of_ranks.end();
    }
    stopped = stopped && done < total;
    return !stopped;
  };
  if (several(ranks_)) {
    options.ranks = ranks_.host;
    options.logits_of_all = options_.distributed.scheme == Scheme::one_weird_trick;
  }
  Evaluation evaluation = evaluate(model_, source, device_, options);
  if (stopped) return std::nullopt;
  return evaluation;
}

// With the best weights; the network has its own again afterwards. False where it was interrupted.
bool Trainer::Run::measure_test(bool current_is_best, EpochRecord& record) {
  std::vector<NamedTensor> weights = named_weights(model_);
  std::vector<Tensor> current;
  if (!current_is_best) {
    for (const NamedTensor& w : weights) current.push_back(w.tensor.detach().clone());
    if (!options_.output.empty()) {
      load_weights(best_weights_path(options_.output), model_);
    } else {
      for (size_t i = 0; i < weights.size(); ++i) weights[i].tensor.copy_from(best_[i]);
    }
  }
  const std::optional<Evaluation> test = measure("test", *data_.test);
  for (size_t i = 0; i < current.size(); ++i) weights[i].tensor.copy_from(current[i]);
  if (!test) return false;
  record.test_loss = test->loss;
  record.test_top1 = test->top1;
  return true;
}

}  // namespace striate
