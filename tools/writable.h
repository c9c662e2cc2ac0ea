#pragma once

#include <string>

namespace striate {

/// Before anything is measured: that a file can be made where a flag or key wants one. Throws IoError that names both.
void require_writable(const std::string& flag, const std::string& file);

}  // namespace striate
