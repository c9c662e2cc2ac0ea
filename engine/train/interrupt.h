#pragma once

namespace striate {

/// While one lives, SIGINT, SIGTERM and SIGUSR1 (which launchers pass on to processes that they started) set a flag
/// instead of ending the process; a second signal ends it at once with status 130. The previous handlers return with
/// its end. Of several processes one speaks of it.
class InterruptGuard {
 public:
  explicit InterruptGuard(bool speaks = true);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool requested();
};

}  // namespace striate
