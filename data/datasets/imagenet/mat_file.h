#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace striate {

/// A field of every element of a struct array: a number where it is a 1×1 matrix (NaN elsewhere), a text in UTF-8 where
/// it is a row of characters (empty elsewhere).
struct MatField {
  std::vector<double> numbers;
  std::vector<std::string> texts;
};

/// Reads fields of a struct array from a MATLAB file of version 5 (MATLAB's own from 5 to 7, little-endian, compressed
/// or not), one MatField for each of `fields`. `source` is what errors call the file. Throws IoError where it is
/// damaged, of another version, or has no such struct array with these fields. Memory is bounded by 64 MiB and what was
/// asked for.
std::vector<MatField> read_mat_structs(std::span<const uint8_t> file, const std::string& variable,
                                       std::span<const std::string> fields, const std::string& source);

}  // namespace striate
