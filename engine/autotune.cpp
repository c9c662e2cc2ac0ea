// The file, line by line:
//   striate autotune 1
//   gpu NVIDIA A100-SXM4-80GB
//   version 0.1.0
//   128x128x32 shares 2 | bf16 windows/8 rows/8 m=21632 …      a product's fastest tile, as often as there are products
//   end 57                                                     how many those are: a file that was cut off lacks it
#include "engine/autotune.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"

namespace striate {

namespace {

constexpr std::string_view kFormat = "striate autotune 1";

std::string gpu_name() { return gpu::built_for_gpu() ? gpu::properties().name : "none: predicted on the host"; }

/// What of `text` follows `before`, which is taken off with it.
bool skip(std::string_view& text, std::string_view before) {
  if (!text.starts_with(before)) return false;
  text.remove_prefix(before.size());
  return true;
}

bool take_number(std::string_view& text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number <= 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

/// "128x128x32 shares 2 | product", of which the product stays in `line`.
std::optional<tile::TunedTile> parse(std::string_view& line) {
  tile::TunedTile tile;
  const bool whole = take_number(line, tile.m) && skip(line, "x") && take_number(line, tile.n) && skip(line, "x") &&
                     take_number(line, tile.k) && skip(line, " shares ") && take_number(line, tile.shares) &&
                     skip(line, " | ") && !line.empty();
  return whole ? std::optional(tile) : std::nullopt;
}

}  // namespace

Autotune::Autotune(std::string path) : path_(std::move(path)) {
  require<ConfigError>(tile::tuning_table() == nullptr, "train.autotune: the tiles are being timed already");
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    const std::string why = read();
    if (!why.empty()) {
      table_ = {};
      notice_ = fmt::format("{}: {}; the tiles are timed anew", path_, why);
    }
  }
  written_ = table_.tiles().size();
  tile::tune_with(&table_);
}

Autotune::~Autotune() { tile::tune_with(nullptr); }

std::string Autotune::read() {
  std::ifstream in(path_);
  if (!in) return "cannot be read";
  std::string format, gpu, version;
  std::getline(in, format);
  if (format != kFormat) return fmt::format("its first line is not '{}'", kFormat);
  std::getline(in, gpu);
  if (gpu != "gpu " + gpu_name()) return fmt::format("it is for '{}', and here is 'gpu {}'", gpu, gpu_name());
  std::getline(in, version);
  if (version != "version " STRIATE_VERSION) {
    return fmt::format("it is of '{}', and this is version {}", version, STRIATE_VERSION);
  }
  int number = 3;
  for (std::string text; std::getline(in, text);) {
    ++number;
    std::string_view line = text;
    if (skip(line, "end ")) {
      const bool whole = line == std::to_string(table_.tiles().size()) && !std::getline(in, text);
      return whole ? "" : fmt::format("line {} does not end it as it should", number);
    }
    const auto tile = parse(line);
    if (!tile) return fmt::format("line {} is damaged: '{}'", number, text);
    table_.set(std::string(line), *tile);
  }
  return fmt::format("it is cut off after line {}", number);
}

void Autotune::save() {
  const auto& tiles = table_.tiles();
  if (tiles.size() == written_) return;
  std::string text = fmt::format("{}\ngpu {}\nversion {}\n", kFormat, gpu_name(), STRIATE_VERSION);
  for (const auto& [product, tile] : tiles) {
    text += fmt::format("{}x{}x{} shares {} | {}\n", tile.m, tile.n, tile.k, tile.shares, product);
  }
  text += fmt::format("end {}\n", tiles.size());
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  require<IoError>(!error, "{}: cannot be made: {}", folder.string(), error.message());
  write_file_atomically(path_, text);
  written_ = tiles.size();
}

std::string autotune_path() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value ? value : "");
  };
  std::filesystem::path folder = variable("XDG_CACHE_HOME");
  if (folder.empty()) {
    const std::string home = variable("HOME");
    require<ConfigError>(!home.empty(), "train.autotune: there is no folder for its file; set XDG_CACHE_HOME or HOME");
    folder = std::filesystem::path(home) / ".cache";
  }
  std::string gpu = gpu::built_for_gpu() ? gpu_name() : "host";
  for (char& c : gpu) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  return (folder / "striate" / ("autotune-" + gpu + ".txt")).string();
}

}  // namespace striate
