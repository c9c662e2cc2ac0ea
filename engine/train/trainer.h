#pragma once

#include <memory>

#include "engine/distributed/options.h"
#include "engine/nn/module.h"
#include "engine/train/batch_source.h"
#include "engine/train/observer.h"
#include "engine/train/train_options.h"

namespace striate {

/// What a trainer sees. `val` is measured after every epoch, `test` once at the end with the best weights; both may be
/// null.
struct TrainData {
  BatchSource* train = nullptr;
  BatchSource* val = nullptr;
  BatchSource* test = nullptr;
};

/// Trains a classifier. Two runs with the same options, data, weights and threads give the same bits, and so does a run
/// that was stopped anywhere and resumed. With several ranks each has a trainer, with its part of the data; the first
/// rank writes the files. They follow one process on whole batches, to the order of sums.
class Trainer {
 public:
  /// The model lies on its device already and outlives the trainer, as the data do. Throws ConfigError for options that
  /// contradict each other or the data.
  Trainer(nn::Module& model, const TrainData& data, const TrainOptions& options, const Ranks& ranks = {});
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Not owned; told in order of adding.
  void add_observer(TrainObserver& observer);
  /// Takes up the run in options.output where its last checkpoint left it. Throws IoError where there is none or it is
  /// damaged, ConfigError naming the options that differ from the run's.
  void resume();
  /// Trains to the end, or until Ctrl-C. Throws Error, naming step and learning rate, when a loss is not finite; the
  /// last checkpoint then stays as it is.
  TrainResult run();

 private:
  class Run;
  std::unique_ptr<Run> run_;
};

}  // namespace striate
