#include "engine/train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/autograd.h"
#include "engine/nn/evaluation_mode.h"
#include "engine/ops/ops.h"
#include "engine/train/batch_loss.h"
#include "kernels/error.h"

namespace striate {

namespace {
/// Every batch through the network; `see` gets it with its logits.
template <typename See>
void run(nn::Module& model, BatchSource& source, Device device, const EvaluateOptions& options, See&& see) {
  const nn::EvaluationMode mode(model);
  const NoGradGuard no_grad;
  int64_t done = 0;
  Batch batch;
  source.start(0);
  while (source.next(batch)) {
    const Tensor logits = model(batch.images.to(device)).to(DType::float32);
    see(batch, logits);
    if (options.on_batch) options.on_batch(batch, logits);
    done = std::min((batch.index + 1) * source.batch_size(), source.samples());
    if (options.progress && !options.progress(done, source.samples())) break;
  }
}
}  // namespace

void infer(nn::Module& model, BatchSource& source, Device device, const EvaluateOptions& options) {
  run(model, source, device, options, [](const Batch&, const Tensor&) {});
}

Evaluation evaluate(nn::Module& model, BatchSource& source, Device device, const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::optional<Metrics> metrics;
  run(model, source, device, options, [&](const Batch& batch, const Tensor& logits) {
    const Tensor labels = options.logits_of_all ? labels_of_all(batch.labels, *options.ranks) : batch.labels;
    const ops::CrossEntropy result = ops::softmax_cross_entropy(logits, labels);
    if (!metrics) metrics.emplace(logits.dim(1));
    metrics->add(logits, labels, result.sample_loss, result.rank);
  });
  require<Error>(metrics.has_value(), "evaluate: the data have no images");
  if (options.logits_of_all) {
    metrics->take_loss_of_first(*options.ranks);  // hosts may sum in another order, and all must decide alike
  } else if (options.ranks != nullptr) {
    metrics->add_other_ranks(*options.ranks);
  }
  Evaluation evaluation = metrics->result();
  evaluation.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return evaluation;
}

}  // namespace striate
