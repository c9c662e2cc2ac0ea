#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace striate {

/// Shows the share of work done, the rate and the time left on a line that a terminal overwrites and clears at the end.
/// Elsewhere nothing, or, where `seconds_between_lines` is above 0, a line as often. False once Ctrl-C was pressed,
/// where an InterruptGuard lives: whoever calls it then stops.
std::function<bool(int64_t done, int64_t total)> progress_line(const std::string& what,
                                                               double seconds_between_lines = 0.0);

}  // namespace striate
