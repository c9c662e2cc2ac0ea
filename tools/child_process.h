#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// While one lives, SIGINT and SIGTERM wait for run_child() to see them instead of ending this process.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  /// Whether one has come that no child was told of.
  static bool pending();
};

struct ChildEnd {
  int code = 0;              ///< the exit code, or 128 + the signal that ended it
  bool interrupted = false;  ///< a held signal came and was handed on
};

/// Runs a program to its end, its output on this process's own. Signals that HeldSignals holds are handed on to it: the
/// child is in a process group of its own, so that it gets each of them once. It does not outlive this process. Throws
/// Error where it cannot be started.
ChildEnd run_child(const std::filesystem::path& program, const std::vector<std::string>& arguments);

}  // namespace striate
