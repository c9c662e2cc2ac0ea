#pragma once

#include <cstdint>
#include <string>

#include "engine/device.h"
#include "engine/distributed/options.h"
#include "engine/optim/optimizer_config.h"
#include "engine/optim/schedule.h"

namespace striate {

class ConfigReader;

/// Whether training steps on cuda are captured once as a CUDA graph and replayed. `automatic`: where they can be; `on`:
/// it is an error where they cannot.
enum class GraphMode { automatic, on, off };

/// The `train:` section of a configuration, and what the trainer needs from elsewhere.
struct TrainOptions {
  int64_t epochs = 10;
  int64_t max_steps = 0;                  ///< > 0: stop after that many optimizer steps in all
  int64_t batch_size = 128;               ///< of the BatchSource that is made
  int64_t accumulate = 1;                 ///< batches an optimizer step; the loss is the mean over all of them
  Precision precision = Precision::fp32;  ///< the network's device must have it
  GraphMode cuda_graph = GraphMode::automatic;
  double learning_rate = 0.01;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  bool autotune = false;  ///< on cuda: the tiles of the matrix products by timing (engine/autotune.h)
  double label_smoothing = 0.0;
  double clip_grad_norm = 0.0;       ///< 0: off
  bool recompute = false;            ///< activations of cheap ops again in the backward: less memory, the same bits
  std::string best_by = "val_loss";  ///< val_loss | val_top1
  int64_t early_stop_patience = 0;   ///< epochs without a new best; 0: off
  int64_t print_every = 50;          ///< steps
  int64_t save_every = 1;            ///< epochs
  int64_t save_every_steps = 0;      ///< > 0: also within an epoch
  std::string submission;            ///< a file for whoever runs the trainer to write; the trainer does nothing with it

  DistributedOptions distributed;  ///< of the section `distributed`, which is the caller's to read

  uint64_t seed = 0;           ///< of the dropout masks
  std::string output;          ///< the run's folder; empty: nothing is written
  std::string fixed;           ///< more "key=value" lines for fixed_by_resume(): the network's and the data's
  std::string model_name;      ///< goes into the weights' metadata
  bool handle_signals = true;  ///< Ctrl-C finishes the step and saves; a second one ends the process

  /// Reads `train:`; seed, output, fixed and model_name are the caller's. Throws ConfigError with file, line and key.
  static TrainOptions parse(ConfigReader train);

  /// "key=value" lines of all that a resumed run must have in common with the one it continues. How long to train,
  /// what to print and when to save may change.
  std::string fixed_by_resume() const;
};

/// What differs between two such texts, "\n  train.batch_size: 64 in the run, 32 now" each; empty when nothing does. A
/// key of the network or the data that only `now` has counts as equal: an older version did not know it.
std::string differing_options(const std::string& in_the_run, const std::string& now);

}  // namespace striate
