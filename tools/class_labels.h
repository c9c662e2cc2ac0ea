#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// `--labels F`: names of a network's classes, in their order: a name a line, a JSON list of names, or a JSON object
/// {"0": NAME, …} whose NAME may be a list that ends with it, as in {"0": ["n01440764", "tench"]}. Throws IoError, with
/// the file, where it cannot be read, is none of these, lacks a class or has not one name for each of `classes`.
std::vector<std::string> read_labels(const std::filesystem::path& file, int64_t classes);

}  // namespace striate
