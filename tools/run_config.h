#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/config.h"
#include "data/open.h"
#include "engine/device.h"
#include "engine/train/train_options.h"
#include "models/model_config.h"
#include "tools/experiments/analysis_options.h"

namespace striate {

/// A whole configuration, each section read by the library it belongs to. Unknown keys are errors.
struct RunConfig {
  uint64_t seed = 0;
  Device device = Device::cpu;
  int64_t threads = 0;
  models::ModelConfig model;
  DataConfig data;
  TrainOptions train;
  AnalysisOptions analysis;

  /// What it was read from, so that it can be read again with more settled: a file and overrides "a.b=value".
  std::string file;
  std::vector<std::string> overrides;
  /// As YAML that reads back as the same: bases and overrides resolved, every key given, those that were absent at
  /// their defaults.
  std::string text;

  /// Reads `file` (empty: nothing) under `overrides`. Throws ConfigError with file, line and key.
  static RunConfig load(const std::string& file, const std::vector<std::string>& overrides);

  /// The registry's name, or "layers".
  std::string model_name() const;
  /// What the data library is told of the rest of the configuration.
  OpenOptions open_options() const;
  /// Of a batch's images: bfloat16 on cuda in precision bf16, where a network's first product would round them anyway.
  DType image_type() const;
  /// Itself with `more` overrides on top.
  RunConfig with(const std::vector<std::string>& more) const;
  /// Overrides that put measured numbers in the place of every `pca_color: {eigenvalues: computed}`.
  std::vector<std::string> with_color_components(const ColorComponents& components) const;
  /// "key=value" lines of the sections model and data: what a resumed run must have in common with the one it
  /// continues. Where the data lies, who reads it and whose kernels compute may change.
  std::string fixed_by_resume() const;
  /// Every key, dotted, and its value in a line.
  std::vector<std::pair<std::string, std::string>> settings() const;
};

}  // namespace striate
