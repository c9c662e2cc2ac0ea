#include "tools/class_labels.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "data/datasets/file_bytes.h"
#include "kernels/error.h"

namespace striate {
namespace {

using nlohmann::json;

std::string name_of(const json& value, const std::string& file, const std::string& place) {
  const json& name = value.is_array() && !value.empty() ? value.back() : value;
  require<IoError>(name.is_string(), "{}: class {}: expected a name, or a list that ends with one, found {}", file,
                   place, value.dump());
  return name.get<std::string>();
}

std::vector<std::string> names_in_json(const std::string& text, const std::string& file) {
  json parsed;
  try {
    parsed = json::parse(text);
  } catch (const json::exception& error) {
    throw IoError(fmt::format("{}: looks like JSON, but is none: {}", file, error.what()));
  }
  std::vector<std::string> names;
  if (parsed.is_array()) {
    for (const json& value : parsed) names.push_back(name_of(value, file, std::to_string(names.size())));
    return names;
  }
  for (size_t c = 0; c < parsed.size(); ++c) {
    const auto found = parsed.find(std::to_string(c));
    require<IoError>(found != parsed.end(), "{}: of its {} keys none is \"{}\"; expected \"0\", \"1\", … without a gap",
                     file, parsed.size(), c);
    names.push_back(name_of(*found, file, std::to_string(c)));
  }
  return names;
}

}  // namespace

std::vector<std::string> read_labels(const std::filesystem::path& file, int64_t classes) {
  const std::vector<uint8_t> bytes = read_file(file);
  const std::string text(bytes.begin(), bytes.end());
  const size_t first = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  const bool is_json = first != std::string::npos && (text[first] == '[' || text[first] == '{');
  std::vector<std::string> names = is_json ? names_in_json(text.substr(first), file.string()) : read_lines(file);
  if (!is_json && !names.empty() && names.front().starts_with("\xEF\xBB\xBF")) names.front().erase(0, 3);
  require<IoError>(static_cast<int64_t>(names.size()) == classes, "{}: {} names, but the network has {} classes",
                   file.string(), names.size(), classes);
  return names;
}

}  // namespace striate
