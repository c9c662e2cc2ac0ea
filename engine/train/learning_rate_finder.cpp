#include "engine/train/learning_rate_finder.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/ops/ops.h"
#include "engine/step_state.h"
#include "engine/train/batch_loss.h"
#include "engine/train/interrupt.h"
#include "kernels/error.h"

namespace striate {

namespace {

/// Batches without end: epoch after epoch.
class EndlessBatches {
 public:
  explicit EndlessBatches(BatchSource& source) : source_(source) { source_.start(0); }
  void next(Batch& batch) {
    if (source_.next(batch)) return;
    source_.start(++epoch_);
    require<Error>(source_.next(batch), "learning rate finder: an epoch without a batch");
  }

 private:
  BatchSource& source_;
  int64_t epoch_ = 0;
};

/// One optimizer step; the mean loss of its images.
double step(nn::Module& model, Optimizer& optimizer, EndlessBatches& batches, const TrainOptions& options,
            int64_t number) {
  const Device device = optimizer.device();
  DropoutState& dropout = dropout_state(device);
  dropout = {options.seed, static_cast<uint64_t>(number), 0};
  optimizer.clear_grad();
  double loss = 0.0;
  int64_t images = 0;
  Batch batch;
  for (int64_t part = 0; part < options.accumulate; ++part) {
    batches.next(batch);
    const int64_t n = batch.labels.size();
    const BatchLoss result =
        batch_loss(model(batch.images.to(device)), batch, static_cast<float>(options.label_smoothing));
    loss += static_cast<double>(result.loss.item()) * static_cast<double>(n);
    images += n;
    ops::scale(result.loss, static_cast<float>(n)).backward();
    dropout.first_sample += static_cast<uint64_t>(n);
  }
  optimizer.set_gradient_scale(1.0f / static_cast<float>(images));
  optimizer.step();
  return loss / static_cast<double>(images);
}

}  // namespace

void suggest_rate(RateSearch& search, int64_t skip_first) {
  const auto& trials = search.trials;
  const auto begin = std::min<size_t>(static_cast<size_t>(skip_first), trials.size());
  const auto lowest = std::min_element(trials.begin() + static_cast<std::ptrdiff_t>(begin), trials.end(),
                                       [](const RateTrial& a, const RateTrial& b) { return a.smoothed < b.smoothed; });
  if (lowest == trials.end()) return;
  const auto last = static_cast<size_t>(lowest - trials.begin());
  double steepest = 0.0;
  for (size_t i = std::max<size_t>(begin, 1); i <= last && i + 1 < trials.size(); ++i) {
    const double slope = (trials[i + 1].smoothed - trials[i - 1].smoothed) /
                         (std::log(trials[i + 1].rate) - std::log(trials[i - 1].rate));
    if (slope >= steepest) continue;
    steepest = slope;
    search.suggestion = trials[i].rate;
    search.lowest = lowest->rate;
  }
}

RateSearch find_learning_rate(nn::Module& model, BatchSource& source, const TrainOptions& options,
                              const RateFinderOptions& finder,
                              const std::function<void(const RateTrial&, int64_t)>& on_trial) {
  require<ConfigError>(finder.from > 0.0 && finder.to > finder.from && finder.steps >= 2,
                       "learning rate finder: expected 0 < from < to and 2 steps or more, found {}, {} and {}",
                       finder.from, finder.to, finder.steps);
  require<ConfigError>(source.samples() > 0, "learning rate finder: there are no training images");
  const std::unique_ptr<Optimizer> optimizer =
      make_optimizer(options.optimizer, model.named_parameters(), options.learning_rate);
  optimizer->set_max_norm(static_cast<float>(options.clip_grad_norm));
  set_precision(optimizer->device(), options.precision);
  std::optional<InterruptGuard> guard;
  if (finder.handle_signals) guard.emplace();

  model.train();
  EndlessBatches batches(source);
  RateSearch search;
  double lowest = HUGE_VAL;
  for (int64_t i = 0; i < finder.steps; ++i) {
    if (finder.handle_signals && InterruptGuard::requested()) {
      search.interrupted = true;
      return search;
    }
    const double done = static_cast<double>(i) / static_cast<double>(finder.steps - 1);
    RateTrial trial;
    trial.rate = finder.from * std::pow(finder.to / finder.from, done);
    optimizer->set_learning_rate(trial.rate);
    trial.loss = step(model, *optimizer, batches, options, i);
    trial.smoothed = search.trials.empty()
                         ? trial.loss
                         : finder.smoothing * trial.loss + (1.0 - finder.smoothing) * search.trials.back().smoothed;
    search.diverged = !std::isfinite(trial.smoothed) || trial.smoothed > finder.diverged_at * lowest;
    if (std::isfinite(trial.smoothed)) search.trials.push_back(trial);
    if (on_trial) on_trial(trial, i + 1);
    if (search.diverged) break;
    lowest = std::min(lowest, trial.smoothed);
  }
  suggest_rate(search, finder.skip_first);
  return search;
}

}  // namespace striate
