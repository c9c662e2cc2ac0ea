#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/distributed/options.h"
#include "engine/nn/module.h"
#include "engine/optim/optimizer.h"
#include "engine/train/observer.h"
#include "engine/train/safetensors.h"

namespace striate {

/// Where a run stands, next to its weights and its optimizer's state.
struct RunState {
  int64_t step = 0;       ///< optimizer steps done
  int64_t epoch = 1;      ///< the current one, from 1
  int64_t batch = 0;      ///< its next batch
  int64_t rows = 0;       ///< epoch records written
  double loss_sum = 0.0;  ///< over the images of the current epoch so far
  int64_t correct = 0, images = 0;
  double train_seconds = 0.0, seconds = 0.0;  ///< spent in the current epoch
  int64_t best_epoch = 0;
  double best_value = kNotMeasured;
  EpochRecord last;
  std::vector<double> schedule;
  std::string options;  ///< "key=value" lines that must be the same in a resumed run
};

/// Makes a checkpoint of a run's folder in an order that a kill at any moment leaves whole:
///   1. resume-STEP.safetensors: state and the optimizer's tensors, under a new name
///   2. last.safetensors: the weights; its metadata names the step and the resume file. This rename commits both.
///   3. resume files that last.safetensors does not name are removed.
/// Of several ranks all call it, with the same state; the first one writes what a single process would, and it returns
/// when the files are there.
/// Throws IoError (the previous checkpoint stays), or Error naming the first weight that is not finite.
void save_checkpoint(const std::string& folder, const nn::Module& model, const Optimizer& optimizer,
                     const RunState& state, const Metadata& metadata, const Ranks& ranks = {});

/// Restores what save_checkpoint() wrote, by however many ranks, and removes what a killed run left over. Of several
/// ranks all call it and read the files. Throws IoError where there is no
/// checkpoint or its two files do not belong together, ConfigError where it is another model's or optimizer's, or where
/// the run's `options` were others (empty: not compared).
RunState load_checkpoint(const std::string& folder, nn::Module& model, Optimizer& optimizer,
                         const std::string& options = {}, const Ranks& ranks = {});

/// `folder`/last.safetensors, best.safetensors.
std::string last_weights_path(const std::string& folder);
std::string best_weights_path(const std::string& folder);

}  // namespace striate
