#include "tools/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "engine/train/interrupt.h"

namespace striate {

std::function<bool(int64_t, int64_t)> progress_line(const std::string& what) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  return [what, terminal](int64_t done, int64_t total) {
    if (terminal) {
      fmt::print("\r{} {:3.0f} %  {} of {}", what, 100.0 * static_cast<double>(done) / static_cast<double>(total), done,
                 total);
      if (done == total) fmt::print("\r\x1b[K");
      std::fflush(stdout);
    }
    return !InterruptGuard::requested();
  };
}

}  // namespace striate
