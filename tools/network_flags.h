#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "tools/command_line.h"
#include "tools/run_config.h"
#include "tools/run_folder.h"

namespace striate {

/// What a network is built for.
struct NetworkSizes {
  Shape input;          ///< [H,W,C]; empty: the model's own
  int64_t classes = 0;  ///< 0: the model's own
  bool known = true;    ///< false: the dataset has more to say, but its files are missing
};

/// A trained (or fresh) network as the command line names it.
struct NetworkSource {
  RunConfig config;
  bool has_dataset = true;        ///< false: the configuration names none, and its section `data` means nothing
  std::optional<RunFolder> run;   ///< where it comes from a run
  std::filesystem::path weights;  ///< empty: freshly initialised

  /// "weights of runs/first/best.safetensors", or that they are fresh.
  std::string weights_description() const;
  /// Input and classes by the configuration's dataset, whose files may be missing.
  NetworkSizes sizes() const;
};

/// --run DIR [--checkpoint C], or --model NAME [--weights F], --input H,W,C and --classes N, or a configuration.
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
