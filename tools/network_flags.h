#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "tools/command_line.h"
#include "tools/run_config.h"
#include "tools/run_folder.h"

namespace striate {

/// A trained (or fresh) network as the command line names it.
struct NetworkSource {
  RunConfig config;
  std::optional<RunFolder> run;   ///< where it comes from a run
  std::filesystem::path weights;  ///< empty: freshly initialised

  /// "weights of runs/first/best.safetensors", or that they are fresh.
  std::string weights_description() const;
  /// The input [H,W,C] as far as the configuration says without its dataset; empty where the model's own is meant.
  Shape input_without_data() const;
};

/// --run DIR [--checkpoint C], or --model NAME [--weights F], --input H,W,C and --classes N, or --config F.
struct NetworkFlags {
  /// Whether the tool reads pictures, so that a configuration without a dataset is an error.
  enum class Data { needed, not_needed };

  std::string run, checkpoint = "best", model, weights, input;
  int64_t classes = 0;

  void add_to(CommandLine& command_line);
  /// Throws ConfigError for flags that contradict each other and for runs and files that are not there.
  NetworkSource resolve(const CommonFlags& common, Data data) const;
};

}  // namespace striate
