#include "engine/train/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <iterator>

namespace striate {

namespace {
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};
constexpr int kCount = std::size(kSignals);
volatile sig_atomic_t interrupted = 0;
volatile sig_atomic_t speaking = 1;
struct sigaction previous_actions[kCount];

extern "C" void on_interrupt(int) {
  constexpr int kInterruptedStatus = 130;
  if (interrupted != 0) ::_exit(kInterruptedStatus);
  interrupted = 1;
  if (speaking == 0) return;
  constexpr char kMessage[] = "\nInterrupted: finishing the step, then saving. Once more to stop at once.\n";
  // Nothing can be done where standard error is closed.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
}
}  // namespace

InterruptGuard::InterruptGuard(bool speaks) {
  interrupted = 0;
  speaking = speaks ? 1 : 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  for (int i = 0; i < kCount; ++i) ::sigaction(kSignals[i], &action, &previous_actions[i]);
}

InterruptGuard::~InterruptGuard() {
  for (int i = 0; i < kCount; ++i) ::sigaction(kSignals[i], &previous_actions[i], nullptr);
}

bool InterruptGuard::requested() { return interrupted != 0; }

}  // namespace striate
