#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "tools/command_line.h"
#include "tools/run_folder.h"

namespace striate::visualize {

/// Where a figure goes: --output, which may name a folder; else `name` in the run's folder, or where the tool was
/// called. Throws ConfigError for a file that is neither .png nor .svg, Error where there is no gnuplot to draw it.
std::filesystem::path figure_file(const std::string& output, const std::optional<RunFolder>& run,
                                  const std::string& name);

/// Says that it was written.
void say_written(const std::filesystem::path& file);

/// Throws ConfigError unless a flag's number lies in [least, most].
void require_between(const char* flag, int64_t value, int64_t least, int64_t most);

}  // namespace striate::visualize
