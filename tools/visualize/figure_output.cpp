#include "tools/visualize/figure_output.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "tools/experiments/figure.h"

namespace striate::visualize {

std::filesystem::path figure_file(const std::string& output, const std::optional<RunFolder>& run,
                                  const std::string& name) {
  // Before anything is measured for it.
  require<Error>(gnuplot_available(), "{}", kGnuplotMissing);
  if (output.empty()) return run ? run->path() / name : std::filesystem::path(name);
  std::error_code ignored;
  const std::filesystem::path file(output);
  if (std::filesystem::is_directory(file, ignored)) return file / name;
  figure_format(file);
  const std::filesystem::path folder = file.parent_path();
  require<ConfigError>(folder.empty() || std::filesystem::is_directory(folder, ignored),
                       "--output {}: there is no folder {}", output, folder.string());
  return file;
}

void say_written(const std::filesystem::path& file) { fmt::print("wrote {}\n", file.string()); }

void require_between(const char* flag, int64_t value, int64_t least, int64_t most) {
  require<ConfigError>(value >= least && value <= most, "{} {}: expected {} to {}", flag, value, least, most);
}

}  // namespace striate::visualize
