#include "data/statistics_file.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "engine/train/atomic_file.h"

namespace striate {
namespace {

std::optional<Normalization> read(const std::string& file, const std::string& data, int channels) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line) || line != "data: " + data) return std::nullopt;
  Normalization result;
  for (auto* values : {&result.mean, &result.std}) {
    if (!std::getline(in, line)) return std::nullopt;
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (double value; words >> value;) values->push_back(value);
    if (static_cast<int>(values->size()) != channels) return std::nullopt;
  }
  for (const double deviation : result.std) {
    if (!(deviation > 0)) return std::nullopt;
  }
  return result;
}

}  // namespace

Normalization cached_normalization(const std::string& file, const std::string& data, int channels,
                                   const std::function<Normalization()>& measure) {
  if (const auto known = read(file, data, channels)) return *known;
  const Normalization measured = measure();
  // 17 digits bring a double back as it was.
  write_file_atomically(file, fmt::format("data: {}\nmean: {:.17g}\nstd: {:.17g}\n", data,
                                          fmt::join(measured.mean, " "), fmt::join(measured.std, " ")));
  return measured;
}

}  // namespace striate
