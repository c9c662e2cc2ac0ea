#pragma once

#include <cstdint>
#include <string>

namespace striate {

/// 61,100,840
inline std::string grouped(int64_t n) {
  std::string digits = std::to_string(n);
  const size_t sign = n < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

}  // namespace striate
