#include "tools/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "engine/train/interrupt.h"

namespace striate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string duration_text(double s) {
  if (s < 100) return fmt::format("{:.0f} s", s);
  if (s < 6000) return fmt::format("{:.0f} min", s / 60);
  return fmt::format("{:.1f} h", s / 3600);
}

struct Progress {
  std::string what;
  bool is_terminal;
  double between;
  Clock::time_point begun{}, shown{};
  int64_t done_before = -1;  // when it was first called: that was not done in this time
  int64_t done_last = 0;

  void show(int64_t done, int64_t total) {
    const Clock::time_point now = Clock::now();
    if (done_before < 0 || done < done_last) {  // it may begin again
      done_before = done;
      begun = shown = now;
    }
    done_last = done;
    const bool is_last = done == total;
    if (is_terminal ? !is_last && shown != begun && seconds(now - shown) < 0.1
                    : between <= 0 || seconds(now - shown) < between) {
      return;
    }
    shown = now;
    std::string line = fmt::format("{} {:3.0f} %  {} of {}", what,
                                   100.0 * static_cast<double>(done) / static_cast<double>(total), done, total);
    const double elapsed = seconds(now - begun);
    if (done > done_before && elapsed > 1) {
      const double rate = static_cast<double>(done - done_before) / elapsed;
      line += fmt::format("  {:.{}f}/s  {} left", rate, rate < 10 ? 1 : 0,
                          duration_text(static_cast<double>(total - done) / rate));
    }
    if (is_terminal) {
      fmt::print("\r{}\x1b[K", line);
      if (is_last) fmt::print("\r\x1b[K");
    } else {
      fmt::print("{}\n", line);
    }
    std::fflush(stdout);
  }
};

}  // namespace

std::function<bool(int64_t, int64_t)> progress_line(const std::string& what, double seconds_between_lines) {
  const auto progress = std::make_shared<Progress>(Progress{what, isatty(STDOUT_FILENO) != 0, seconds_between_lines});
  return [progress](int64_t done, int64_t total) {
    progress->show(done, total);
    return !InterruptGuard::requested();
  };
}

}  // namespace striate
