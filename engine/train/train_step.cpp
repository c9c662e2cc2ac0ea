#include "engine/train/train_step.h"

#include <utility>

#include "engine/ops/ops.h"
#include "engine/profiler.h"
#include "engine/rounded_copy.h"
#include "engine/step_state.h"
#include "engine/train/batch_loss.h"
#include "kernels/error.h"
#include "kernels/softmax_cross_entropy/check.h"

namespace striate {

namespace {
std::string obstacle_to_a_graph(const TrainOptions& options) {
  if (options.accumulate == 1) return "";
  return fmt::format("train.accumulate: {} batches make a step", options.accumulate);
}
}  // namespace

TrainStep::TrainStep(nn::Module& model, Optimizer& optimizer, const TrainOptions& options, int64_t full,
                     std::function<void(double)> on_loss, std::function<void(const std::string&)> notice)
    : model_(model),
      optimizer_(optimizer),
      device_(optimizer.device()),
      accumulate_(options.accumulate),
      full_(full),
      seed_(options.seed),
      label_smoothing_(static_cast<float>(options.label_smoothing)),
      on_loss_(std::move(on_loss)),
      graph_(options.cuda_graph, device_, full, obstacle_to_a_graph(options), std::move(notice)),
      results_(device_, options.accumulate) {}

void TrainStep::begin(int64_t step, double learning_rate) {
  parts_.clear();
  dropout_state(device_) = {seed_, static_cast<uint64_t>(step), 0};
  optimizer_.clear_grad();
  optimizer_.set_learning_rate(learning_rate);
  refresh_rounded_copies(optimizer_.parameters());  // a replayed step looks at no copy's age
  if (accumulate_ == 1) {
    optimizer_.set_gradient_scale(1.0f);
    optimizer_.update_on_arrival();
    optimizer_.prepare_step();
  }
}

void TrainStep::add(const Batch& batch) {
  if (classes_ > 0) check_labels_of(batch);
  graph_.run(
      batch, [&](const Batch& on_device) { train_on(on_device, batch); }, [&] { optimizer_.clear_grad(); });
  parts_.push_back(batch.labels.size());
  dropout_state(device_).first_sample += static_cast<uint64_t>(batch.labels.size());
}

// All that is captured of a step. `given` is the same batch as the source gave it.
void TrainStep::train_on(const Batch& batch, const Batch& given) {
  const Tensor logits = model_(batch.images);
  if (classes_ == 0) {
    classes_ = logits.dim(-1);
    check_labels_of(given);
  }
  const BatchLoss result =
      batch_loss(logits, batch, label_smoothing_, results_.place(static_cast<int64_t>(parts_.size())));
  if (on_host(device_)) on_loss_(static_cast<double>(result.loss.item()));
  // Batches of an accumulated step weigh as their images do; the full size is divided out with the sum in finish().
  const int64_t images = batch.labels.size();
  const bool weighted = accumulate_ > 1 && images != full_;
  (weighted ? ops::scale(result.loss, static_cast<float>(static_cast<double>(images) / static_cast<double>(full_)))
            : result.loss)
      .backward();
  if (accumulate_ == 1) optimizer_.update_parameters();
}

void TrainStep::finish() {
  if (accumulate_ > 1) {
    int64_t images = 0;
    for (const int64_t part : parts_) images += part;
    optimizer_.set_gradient_scale(static_cast<float>(static_cast<double>(full_) / static_cast<double>(images)));
    optimizer_.prepare_step();
    optimizer_.update_parameters();
  }
  optimizer_.finish_step();
  results_.send(optimizer_.norm());
  images_.push_back(parts_);
}

// In a profile every step ends before the next begins.
bool TrainStep::runs_ahead() const { return !on_host(device_) && Profiler::current() == nullptr; }

StepOutcome TrainStep::take() {
  const StepResults::Step step = results_.take();
  const std::vector<int64_t> images = std::move(images_.front());
  images_.pop_front();
  StepOutcome outcome;
  for (size_t part = 0; part < images.size(); ++part) {
    outcome.loss_sum += static_cast<double>(step.batches[part].loss) * static_cast<double>(images[part]);
    outcome.correct += step.batches[part].correct;
  }
  outcome.gradient_norm = step.norm;
  return outcome;
}

// Kernels of a GPU cannot throw for a label; those of the other devices do.
void TrainStep::check_labels_of(const Batch& batch) const {
  if (on_host(device_) || !on_host(batch.labels.device())) return;
  check_labels(batch.labels.data<int32_t>(), {batch.labels.size(), classes_, label_smoothing_});
}

}  // namespace striate
