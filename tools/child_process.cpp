#include "tools/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "kernels/error.h"

namespace striate {
namespace {

sigset_t held_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

/// In the child; never returns.
[[noreturn]] void become(const std::filesystem::path& program, const std::vector<std::string>& arguments, pid_t parent,
                         int failure) {
  setpgid(0, 0);
  // SIGTERM lets it save; where the parent is gone already, nobody sends it any more.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const sigset_t set = held_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (getppid() == parent) execv(program.c_str(), argv.data());
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(failure, &error, sizeof error);
  _exit(127);
}

}  // namespace

HeldSignals::HeldSignals() {
  const sigset_t set = held_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

HeldSignals::~HeldSignals() {
  const sigset_t set = held_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool HeldSignals::pending() {
  sigset_t waiting;
  sigpending(&waiting);
  return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1;
}

ChildEnd run_child(const std::filesystem::path& program, const std::vector<std::string>& arguments) {
  std::fflush(stdout);
  int failure[2];
  require<Error>(pipe2(failure, O_CLOEXEC) == 0, "{}: cannot be started: {}", program.string(), std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) become(program, arguments, parent, failure[1]);
  close(failure[1]);
  int error = child < 0 ? errno : 0;
  if (child > 0 && read(failure[0], &error, sizeof error) == static_cast<ssize_t>(sizeof error)) {
    waitpid(child, nullptr, 0);
  }
  close(failure[0]);
  require<Error>(error == 0, "{}: cannot be started: {}", program.string(), std::strerror(error));

  ChildEnd end;
  const sigset_t set = held_signals();
  const timespec patience = {0, 200'000'000};
  for (int status = 0;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) {
      end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return end;
    }
    const int signal = sigtimedwait(&set, nullptr, &patience);
    if (signal != SIGINT && signal != SIGTERM) continue;
    end.interrupted = true;
    kill(child, signal);
  }
}

}  // namespace striate
