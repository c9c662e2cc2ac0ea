#pragma once

namespace striate {

/// While one lives, SIGINT and SIGTERM set a flag instead of ending the process; a second signal ends it at once with
/// status 130. The previous handlers return with its end.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool requested();
};

}  // namespace striate
