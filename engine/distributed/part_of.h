#pragma once

#include <cstdint>
#include <vector>

namespace striate {

/// [begin, end).
struct Range {
  int64_t begin = 0, end = 0;

  constexpr int64_t size() const { return end - begin; }
  constexpr bool operator==(const Range&) const = default;
};

/// How n things are divided among `parts`: consecutive ranges whose sizes differ by one at most. Empty for some where
/// there are fewer things than parts.
constexpr Range part_of(int64_t n, int64_t part, int64_t parts) { return {n * part / parts, n * (part + 1) / parts}; }

/// The sizes of all parts.
inline std::vector<int64_t> part_sizes(int64_t n, int64_t parts) {
  std::vector<int64_t> sizes;
  for (int64_t part = 0; part < parts; ++part) sizes.push_back(part_of(n, part, parts).size());
  return sizes;
}

}  // namespace striate
