#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace striate {

/// Shows the share of work done on a line that a terminal overwrites and clears at the end; nothing elsewhere. False
/// once Ctrl-C was pressed, where an InterruptGuard lives: whoever calls it then stops.
std::function<bool(int64_t done, int64_t total)> progress_line(const std::string& what);

}  // namespace striate
