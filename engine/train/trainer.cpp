#include "engine/train/trainer_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "engine/allocator.h"
#include "engine/distributed/sharding.h"
#include "engine/saved.h"
#include "engine/train/interrupt.h"
#include "engine/train/weights.h"
#include "kernels/error.h"

namespace striate {

namespace {
class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// However a step ends, by an exception or the end of the data too: backwards of others move no weights.
struct WithdrawAtEnd {
  Optimizer& optimizer;
  ~WithdrawAtEnd() { optimizer.withdraw_updates(); }
};
}  // namespace

Trainer::Run::Run(nn::Module& model, const TrainData& data, const TrainOptions& options, const Ranks& ranks)
    : model_(model), data_(data), options_(options), ranks_(ranks) {
  require<ConfigError>(data_.train != nullptr && data_.train->samples() > 0, "train: there are no training images");
  require<ConfigError>(options_.accumulate > 0, "train.accumulate: {}, expected 1 or more", options_.accumulate);
  require<ConfigError>(options_.best_by == "val_loss" || by_accuracy(),
                       "train.best_by: '{}', expected val_loss or val_top1", options_.best_by);
  require<ConfigError>(data_.val != nullptr || options_.early_stop_patience == 0,
                       "train.early_stop_patience: there are no validation images to judge by; set "
                       "data.validation_fraction");
  optimizer_ = make_optimizer(options_.optimizer, model_.named_parameters(), options_.learning_rate);
  optimizer_->set_max_norm(static_cast<float>(options_.clip_grad_norm));
  schedule_ = make_schedule(options_.schedule, options_.learning_rate, options_.epochs);
  device_ = optimizer_->device();
  set_precision(device_, options_.precision);
  step_.emplace(
      model_, *optimizer_, options_, data_.train->batch_size(),
      [this](double loss) { require_finite(loss, "the loss", state_.step + 1, rate()); },
      [this](const std::string& message) { tell([&](TrainObserver& o) { o.notice(message); }); }, ranks_);
  if (options_.autotune && device_ == Device::cuda) autotune_ = std::make_unique<Autotune>(autotune_path());
  steps_per_epoch_ = (data_.train->batches() + options_.accumulate - 1) / options_.accumulate;
}

std::string Trainer::Run::fixed_options() const {
  return options_.fixed_by_resume() + fmt::format("training images={}\n", data_.train->samples());
}

std::string Trainer::Run::autotune_notice() const {
  if (!autotune_) return fmt::format("train.autotune: on device {} there is nothing to time", to_string(device_));
  if (!autotune_->notice().empty()) return autotune_->notice();
  return fmt::format("Tiles of the matrix products by timing, {} of them in {}", autotune_->table().tiles().size(),
                     autotune_->path());
}

void Trainer::Run::resume() {
  require<ConfigError>(!options_.output.empty(), "resume: the run has no folder");
  state_ = load_checkpoint(options_.output, model_, *optimizer_, fixed_options(), ranks_);
  if (!state_.schedule.empty()) schedule_->load_state(state_.schedule);
  saved_ = {state_.step, state_.rows};
  resumed_ = true;
}

TrainResult Trainer::Run::run() {
  RunInfo info;
  info.device = device_;
  for (const NamedTensor& p : model_.named_parameters()) {
    info.parameters += element_count(whole_shape(p, model_.named_shards()));
  }
  info.train_images = data_.train->samples();
  info.val_images = data_.val != nullptr ? data_.val->samples() : 0;
  info.test_images = data_.test != nullptr ? data_.test->samples() : 0;
  info.epochs = options_.epochs;
  info.steps_per_epoch = steps_per_epoch_;
  info.max_steps = options_.max_steps;
  info.best_by = options_.best_by;
  info.resumed = resumed_;
  info.step = state_.step;
  info.rows = state_.rows;

  std::optional<InterruptGuard> guard;
  if (options_.handle_signals) guard.emplace(ranks_.rank() == 0);
  if (!resumed_) begin_folder();
  tell([&](TrainObserver& o) { o.run_begins(info); });
  if (options_.autotune) tell([&](TrainObserver& o) { o.notice(autotune_notice()); });
  const TrainResult outcome = train_to_the_end();
  if (autotune_) autotune_->save();
  tell([&](TrainObserver& o) { o.run_ends(outcome); });
  return outcome;
}

void Trainer::Run::begin_folder() {
  if (!writes()) return;
  std::error_code error;
  std::filesystem::create_directories(options_.output, error);
  require<IoError>(!error, "{}: cannot be made: {}", options_.output, error.message());
  // Another run's best weights are not this one's.
  std::filesystem::remove(best_weights_path(options_.output), error);
}

TrainResult Trainer::Run::train_to_the_end() {
  if (!resumed_) save();
  if (state_.rows == 0 && !first_record()) {
    save();
    return result(TrainStatus::interrupted);
  }
  while (true) {
    const bool inside_epoch = state_.batch > 0;
    if (!inside_epoch) {
      if (state_.epoch > options_.epochs || step_limit_reached()) break;
      if (state_.rows > 1 && early_stop_due(state_.epoch - 1, state_.best_epoch)) {
        return result(TrainStatus::early_stopped);
      }
    }
    const EpochEnd end = train_epoch();
    finish_steps();
    if (end == EpochEnd::interrupted || !finish_epoch(end == EpochEnd::complete)) {
      save();
      return result(TrainStatus::interrupted);
    }
    if (end == EpochEnd::step_limit) break;
  }
  return result(TrainStatus::finished);
}

// Epoch 0: the network as it starts. False where it was interrupted.
bool Trainer::Run::first_record() {
  EpochRecord record;
  record.learning_rate = rate();
  const Clock clock;
  if (data_.val != nullptr) {
    const std::optional<Evaluation> val = measure("val", *data_.val);
    if (!val) return false;
    record.val_loss = val->loss;
    record.val_top1 = val->top1;
    record.val_top5 = val->top5;
    record.val_macro_f1 = val->macro_f1;
    require_finite(val->loss, "the validation loss", state_.step, record.learning_rate);
  }
  record.seconds = clock.seconds();
  state_.rows = 1;
  state_.last = record;
  tell([&](TrainObserver& o) { o.epoch_done(record); });
  return true;
}

Trainer::Run::EpochEnd Trainer::Run::train_epoch() {
  model_.train();
  const int64_t batches = data_.train->batches();
  if (state_.batch < batches) {
    data_.train->start(state_.epoch - 1, state_.batch);
    while (true) {
      if (!several(ranks_)) stop_ = to_stop();
      if (stop_) return EpochEnd::interrupted;
      if (state_.batch >= batches) break;
      if (step_limit_reached()) return EpochEnd::step_limit;
      if (!train_step()) break;
      if (autotune_) autotune_->save();
      const bool due = options_.save_every_steps > 0 && state_.step % options_.save_every_steps == 0;
      if (due && state_.batch < batches) {
        finish_steps();
        save();
      }
    }
  }
  return EpochEnd::complete;
}

// The next batch that any rank has images of; nothing at the epoch's end.
std::optional<BatchShare> Trainer::Run::next_batch(StepRecord& record) {
  using Clock = std::chrono::steady_clock;
  BatchShare share;
  while (share.all == 0) {
    const Clock::time_point before = Clock::now();
    const bool more = data_.train->next(batch_);
    record.data_seconds += std::chrono::duration<double>(Clock::now() - before).count();
    if (!more) return std::nullopt;
    state_.batch = batch_.index + 1;
    share = agree_on_batch();
  }
  return share;
}

// How many rows each rank has, and whether one was told to stop, which all do after the step.
BatchShare Trainer::Run::agree_on_batch() {
  const int64_t own = batch_.labels.size();
  if (!several(ranks_)) return {0, own};
  struct Told {
    int64_t rows = 0;
    bool stop = false, is_mixed = false;
  };
  const ProfileScope profiled(Pass::wait, "other ranks");
  const std::vector<Told> of_ranks = ranks_.host->gathered(Told{own, to_stop(), batch_.partner_labels.defined()});
  BatchShare share;
  bool is_mixed = true;
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    const Told& told = of_ranks[static_cast<size_t>(rank)];
    if (rank < ranks_.rank()) share.before += told.rows;
    share.all += told.rows;
    stop_ |= told.stop;
    is_mixed &= told.is_mixed || told.rows == 0;
  }
  // A rank that has none of the few images that broken ones left does not know that there was nothing to mix.
  if (!is_mixed) batch_.partner_labels = Tensor();
  return share;
}

// One optimizer step over up to `accumulate` batches; false at the epoch's end. Where the device works on while the
// host goes ahead, the step before this one is told of when this one is under way.
bool Trainer::Run::train_step() {
  using Clock = std::chrono::steady_clock;
  if (!under_way_) told_ = Clock::now();
  const WithdrawAtEnd withdraw{*optimizer_};
  const RecomputeGuard recompute(options_.recompute);
  StepRecord record;
  record.learning_rate = rate();
  record.step_in_epoch = state_.batch / options_.accumulate + 1;
  step_->begin(state_.step, record.learning_rate);
  for (int64_t part = 0; part < options_.accumulate; ++part) {
    const std::optional<BatchShare> share = next_batch(record);
    if (!share) break;
    step_->add(batch_, *share, part + 1 == options_.accumulate || state_.batch == data_.train->batches());
    record.images += share->all;
  }
  if (record.images == 0) return false;
  step_->finish();
  record.step = ++state_.step;
  record.epoch = state_.epoch;
  record.steps_per_epoch = steps_per_epoch_;
  finish_steps();
  under_way_ = record;
  if (!step_->runs_ahead()) finish_steps();
  return true;
}

// What is under way is done and told of afterwards.
void Trainer::Run::finish_steps() {
  if (under_way_) step_done(*std::exchange(under_way_, std::nullopt));
}

void Trainer::Run::step_done(StepRecord record) {
  const StepOutcome outcome = step_->take();
  const auto images = static_cast<double>(record.images);
  record.loss = outcome.loss_sum / images;
  require_finite(record.loss, "the loss", record.step, record.learning_rate);
  state_.loss_sum += outcome.loss_sum;
  state_.correct += outcome.correct;
  state_.images += record.images;

  record.top1 = static_cast<double>(outcome.correct) / images;
  record.epoch_loss = state_.loss_sum / static_cast<double>(state_.images);
  record.epoch_top1 = static_cast<double>(state_.correct) / static_cast<double>(state_.images);
  if (options_.clip_grad_norm > 0) record.gradient_norm = static_cast<double>(outcome.gradient_norm);
  record.memory_bytes = allocator(device_).stats().peak;
  const auto now = std::chrono::steady_clock::now();
  record.seconds = std::chrono::duration<double>(now - std::exchange(told_, now)).count();
  state_.train_seconds += record.seconds;
  state_.seconds += record.seconds;
  state_.last.learning_rate = record.learning_rate;
  tell([&](TrainObserver& o) { o.step_done(record); });
}

// Measures, reports and saves. False where it was interrupted; the epoch is then finished by the resumed run. An epoch
// that max_steps cut short is reported but stays open, so that a longer run can go on with it: it is no candidate for
// the best, and only where there is none yet are its weights kept as such until the first whole epoch's.
bool Trainer::Run::finish_epoch(bool complete) {
  EpochRecord record;
  record.epoch = state_.epoch;
  record.step = state_.step;
  record.learning_rate = state_.last.learning_rate;
  const auto images = static_cast<double>(std::max<int64_t>(state_.images, 1));
  record.train_loss = state_.loss_sum / images;
  record.train_top1 = static_cast<double>(state_.correct) / images;
  record.images_per_second = static_cast<double>(state_.images) / state_.train_seconds;

  const Clock clock;
  bool is_best = true;  // without validation the last weights are the best
  record.best_epoch = state_.best_epoch;
  record.best_value = state_.best_value;
  if (data_.val != nullptr) {
    const std::optional<Evaluation> val = measure("val", *data_.val);
    if (!val) return false;
    require_finite(val->loss, "the validation loss", state_.step, record.learning_rate);
    record.val_loss = val->loss;
    record.val_top1 = val->top1;
    record.val_top5 = val->top5;
    record.val_macro_f1 = val->macro_f1;
    const double value = by_accuracy() ? val->top1 : val->loss;
    const bool better = by_accuracy() ? value > state_.best_value : value < state_.best_value;
    is_best = state_.best_epoch == 0 || (complete && better);
    if (is_best) record.best_value = value;
  }
  if (is_best) record.best_epoch = record.epoch;
  record.is_best = is_best;

  const bool over =
      step_limit_reached() || record.epoch >= options_.epochs || early_stop_due(record.epoch, record.best_epoch);
  if (over && data_.test != nullptr && !measure_test(is_best, record)) return false;
  if (is_best) keep_best();
  record.seconds = state_.seconds + clock.seconds();
  tell([&](TrainObserver& o) { o.epoch_done(record); });

  state_.last = record;
  if (complete) {
    state_.best_epoch = record.best_epoch;
    state_.best_value = record.best_value;
    const double val_value = by_accuracy() ? 1.0 - record.val_top1 : record.val_loss;
    schedule_->observe(data_.val != nullptr ? val_value : record.train_loss);
    ++state_.epoch;
    ++state_.rows;
    state_.batch = state_.correct = state_.images = 0;
    state_.loss_sum = state_.train_seconds = state_.seconds = 0.0;
  }
  const bool epochs_due = record.epoch % options_.save_every == 0;
  const bool steps_due = options_.save_every_steps > 0 && state_.step % options_.save_every_steps == 0;
  if (over || epochs_due || steps_due) save();
  return true;
}

void Trainer::Run::keep_best() {
  if (!options_.output.empty()) {
    save_weights(best_weights_path(options_.output), model_,
                 {{"model", options_.model_name},
                  {"epoch", fmt::format("{}", state_.epoch)},
                  {"step", fmt::format("{}", state_.step)}},
                 ranks_);
    return;
  }
  if (data_.test == nullptr) return;
  const std::vector<NamedTensor> weights = named_weights(model_);
  best_.resize(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!best_[i].defined()) best_[i] = weights[i].tensor.detach().clone();
    best_[i].copy_from(weights[i].tensor);
  }
}

void Trainer::Run::save() {
  const std::pair<int64_t, int64_t> now{state_.step, state_.rows};
  if (options_.output.empty() || saved_ == now) return;
  tell([&](TrainObserver& o) { o.checkpoint_begins(state_.step); });
  state_.schedule = schedule_->state();
  state_.options = fixed_options();
  save_checkpoint(options_.output, model_, *optimizer_, state_, {{"model", options_.model_name}}, ranks_);
  saved_ = now;
}

void Trainer::Run::require_finite(double loss, const char* what, int64_t step, double learning_rate) const {
  if (std::isfinite(loss)) return;
  std::string kept;
  if (saved_.first >= 0) {
    kept =
        fmt::format("; the last good checkpoint, of step {}, is {}", saved_.first, last_weights_path(options_.output));
  }
  throw Error(
      fmt::format("{} is {} at step {} (epoch {}, learning rate {:g}): lower train.learning_rate, warm up, or set "
                  "train.clip_grad_norm{}",
                  what, loss, step, state_.epoch, learning_rate, kept));
}

Trainer::Trainer(nn::Module& model, const TrainData& data, const TrainOptions& options, const Ranks& ranks)
    : run_(std::make_unique<Run>(model, data, options, ranks)) {}
Trainer::~Trainer() = default;
void Trainer::add_observer(TrainObserver& observer) { run_->add_observer(observer); }
void Trainer::resume() { run_->resume(); }
TrainResult Trainer::run() { return run_->run(); }

}  // namespace striate
