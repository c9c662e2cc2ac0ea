#include "tools/run_folder.h"

#include <fmt/format.h>

#include "engine/train/checkpoint.h"
#include "kernels/error.h"

namespace striate {
namespace {

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

RunFolder RunFolder::existing(const std::filesystem::path& folder) {
  require<ConfigError>(is_there(folder), "no run in {}: there is no such folder", folder.string());
  RunFolder run(folder);
  require<ConfigError>(is_there(run.config()), "no run in {}: it has no config.yaml, which train writes first",
                       folder.string());
  return run;
}

RunFolder RunFolder::fresh(const std::filesystem::path& folder) {
  RunFolder run(folder);
  std::error_code ignored;
  require<ConfigError>(!is_there(folder) || std::filesystem::is_directory(folder, ignored),
                       "--output {}: that is a file; a folder is wanted", folder.string());
  for (const char* file : {"config.yaml", "metrics.csv", "last.safetensors", "best.safetensors"}) {
    require<ConfigError>(!is_there(folder / file),
                         "--output {}: there is a run in it already ({}); continue it with --resume {}, delete it, "
                         "or name another folder",
                         folder.string(), file, folder.string());
  }
  return run;
}

RunFolder RunFolder::next(const std::string& name) {
  std::filesystem::path folder = std::filesystem::path("runs") / name;
  for (int number = 2; is_there(folder); ++number) {
    folder = std::filesystem::path("runs") / fmt::format("{}-{}", name, number);
  }
  return RunFolder(folder);
}

std::filesystem::path RunFolder::weights(const std::string& checkpoint) const {
  const std::string best = best_weights_path(path_.string()), last = last_weights_path(path_.string());
  const std::string file = checkpoint == "best" ? best : checkpoint == "last" ? last : checkpoint;
  std::string there;
  for (const auto& [name, path] : {std::pair{"best", best}, std::pair{"last", last}}) {
    if (is_there(path)) there += fmt::format("{}{}", there.empty() ? "" : " and ", name);
  }
  require<ConfigError>(is_there(file), "--checkpoint {}: no file {}; {} has {}{}", checkpoint, file, path_.string(),
                       there.empty() ? "no weights yet" : there,
                       checkpoint == "best" && there == "last" ? "; --checkpoint last takes them" : "");
  return file;
}

}  // namespace striate
