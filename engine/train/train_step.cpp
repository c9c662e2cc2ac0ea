#include "engine/train/train_step.h"

#include <cmath>
#include <optional>
#include <utility>

#include "engine/distributed/sharding.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "engine/profiler.h"
#include "engine/rounded_copy.h"
#include "engine/step_state.h"
#include "engine/train/batch_loss.h"
#include "kernels/error.h"
#include "kernels/softmax_cross_entropy/check.h"

namespace striate {

namespace {
std::string obstacle_to_a_graph(const TrainOptions& options, const Ranks& ranks) {
  if (several(ranks)) return fmt::format("gradients go between {} ranks", ranks.size());
  if (options.accumulate == 1) return "";
  return fmt::format("train.accumulate: {} batches make a step", options.accumulate);
}
}  // namespace

TrainStep::TrainStep(nn::Module& model, Optimizer& optimizer, const TrainOptions& options, int64_t full,
                     std::function<void(double)> on_loss, std::function<void(const std::string&)> notice,
                     const Ranks& ranks)
    : model_(model),
      optimizer_(optimizer),
      device_(optimizer.device()),
      accumulate_(options.accumulate),
      full_(full),
      seed_(options.seed),
      label_smoothing_(static_cast<float>(options.label_smoothing)),
      on_loss_(std::move(on_loss)),
      graph_(options.cuda_graph, device_, full, obstacle_to_a_graph(options, ranks), std::move(notice)),
      results_(device_, options.accumulate),
      ranks_(ranks),
      logits_of_all_(several(ranks) && options.distributed.scheme == Scheme::one_weird_trick) {
  if (!several(ranks)) return;
  if (options.distributed.sync_batch_norm) nn::synchronise_batch_norm(model_, *ranks_.host);
  if (options.clip_grad_norm > 0.0 && !model_.named_shards().empty()) {
    max_norm_ = options.clip_grad_norm;
    norm_ = Tensor::empty({1}, DType::float32, device_);
    optimizer_.set_max_norm(0.0f);  // which knows only this rank's
  }
  for (const nn::NamedShard& shard : model_.named_shards()) shards_.insert(shard.name);
  reduction_ = std::make_unique<GradientReduction>(without_shards(optimizer_.parameters(), model_.named_shards()),
                                                   ranks_, options.distributed);
}

void TrainStep::begin(int64_t step, double learning_rate) {
  parts_.clear();
  images_of_all_ = 0;
  dropout_state(device_) = {seed_, static_cast<uint64_t>(step), 0};
  optimizer_.clear_grad();
  optimizer_.set_learning_rate(learning_rate);
  refresh_rounded_copies(optimizer_.parameters());  // a replayed step looks at no copy's age
  if (prepares_at_once()) {
    optimizer_.set_gradient_scale(1.0f);
    optimizer_.update_on_arrival(
        [this](const std::string& name) { return reduction_ == nullptr || shards_.contains(name); });
    optimizer_.prepare_step();
  }
}

void TrainStep::add(const Batch& batch, const BatchShare& share, bool is_last) {
  if (classes_ > 0) check_labels_of(batch);
  Batch seen = batch;
  if (logits_of_all_) {
    seen.labels = labels_of_all(batch.labels, *ranks_.host);
    if (batch.partner_labels.defined()) seen.partner_labels = labels_of_all(batch.partner_labels, *ranks_.host);
  }
  uint64_t& first_sample = dropout_state(device_).first_sample;
  first_sample = static_cast<uint64_t>(images_of_all_ + share.before);
  {
    std::optional<GradientReduction::Overlap> overlap;
    if (reduction_ && is_last) overlap.emplace(*reduction_);
    graph_.run(
        seen, [&](const Batch& on_device) { train_on(on_device, batch, seen.labels.size()); },
        [&] { optimizer_.clear_grad(); });
  }
  parts_.push_back(seen.labels.size());
  images_of_all_ += share.all;
  first_sample = static_cast<uint64_t>(images_of_all_);
}

// All that is captured of a step. `given` is the same batch as the source gave it, `images` those that the loss is of.
void TrainStep::train_on(const Batch& batch, const Batch& given, int64_t images) {
  const Tensor logits = model_(batch.images);
  if (classes_ == 0) {
    classes_ = logits.dim(-1);
    check_labels_of(given);
  }
  const BatchLoss result =
      batch_loss(logits, batch, label_smoothing_, results_.place(static_cast<int64_t>(parts_.size())));
  if (on_host(device_)) on_loss_(static_cast<double>(result.loss.item()));
  // Batches of an accumulated step, and the ranks' parts of one, weigh as their images do; the full size is divided out
  // with the sum in finish().
  const bool weighted = !loss_is_of_the_step() && images != full_;
  (weighted ? ops::scale(result.loss, static_cast<float>(static_cast<double>(images) / static_cast<double>(full_)))
            : result.loss)
      .backward();
  if (updates_at_once()) optimizer_.update_parameters();
}

void TrainStep::finish() {
  if (reduction_) reduction_->finish();
  if (!prepares_at_once()) {
    double scale = loss_is_of_the_step() ? 1.0 : static_cast<double>(full_) / static_cast<double>(images_of_all_);
    if (max_norm_ > 0.0) {
      const double norm = scale * norm_of_gradients(optimizer_.parameters(), model_.named_shards(), ranks_);
      norm_.fill(static_cast<float>(norm));
      if (std::isfinite(norm) && norm > max_norm_) scale *= max_norm_ / norm;
    }
    optimizer_.set_gradient_scale(static_cast<float>(scale));
    optimizer_.prepare_step();
  }
  if (!updates_at_once()) optimizer_.update_parameters();
  optimizer_.finish_step();
  results_.send(norm_.defined() ? norm_ : optimizer_.norm());
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
  if (!several(ranks_)) return outcome;
  const ProfileScope profiled(Pass::wait, "other ranks");
  const std::vector<StepOutcome> of_ranks = ranks_.host->gathered(outcome);
  if (logits_of_all_) return of_ranks.front();  // hosts may sum in another order, and all must decide alike
  outcome.loss_sum = 0.0;
  outcome.correct = 0;
  for (const StepOutcome& of_rank : of_ranks) {
    outcome.loss_sum += of_rank.loss_sum;
    outcome.correct += of_rank.correct;
  }
  return outcome;
}

// Kernels of a GPU cannot throw for a label; those of the other devices do.
void TrainStep::check_labels_of(const Batch& batch) const {
  if (on_host(device_) || !on_host(batch.labels.device())) return;
  check_labels(batch.labels.data<int32_t>(), {batch.labels.size(), classes_, label_smoothing_});
}

}  // namespace striate
