#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "engine/distributed/options.h"

namespace striate {

/// Names and values in which the ranks of a job must agree.
using JobFacts = std::vector<std::pair<std::string, std::string>>;

/// The processes of a tool that a launcher of MPI started together, its ranks; a process alone is a job of one. Rank 0
/// speaks for all: the others' standard output goes nowhere, and an error that all have alike is told once.
class Job {
 public:
  /// Connects with the others where a launcher's environment tells of any. Throws as connect_mpi() does.
  explicit Job(const char* tool);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Connects by MPI where that is not done yet, for launchers that leave no trace in the environment.
  void connect();

  int rank() const { return ranks_->rank(); }
  int size() const { return ranks_->size(); }
  /// Whether it is this rank that writes files and speaks.
  bool leads() const { return rank() == 0; }
  Communicator& ranks() { return *ranks_; }
  /// What a network on that device exchanges its values through.
  Ranks ranks_on(Device device);
  /// "2 ranks, MPI (Open MPI v4.1.4)"; empty for one process.
  std::string description() const;

  /// What each rank does for itself on the way to its work: opens files, reads a configuration. Where it throws on any
  /// of them none goes on: rank 0 prints the errors, each once and naming the rank unless all have it, and every rank
  /// throws Over. No collective may be called in it.
  template <typename Step>
  auto together(Step&& step) {
    using Result = std::invoke_result_t<Step>;
    if constexpr (std::is_void_v<Result>) {
      attempt(step);
    } else {
      std::optional<Result> result;
      attempt([&] { result.emplace(step()); });
      return std::move(*result);
    }
  }
  /// Throws Over on all ranks, after rank 0 has printed which rank differs from it in what, unless all have the same.
  void require_same(const JobFacts& facts);
  /// Rank 0's.
  std::string of_rank_0(const std::string& mine);

  /// What `threads` means here: 0 takes the cores that this process may run on, divided among the ranks of this host
  /// that may run on the same.
  int64_t threads(int64_t configured);
  /// A line for who has left cores unused that way; empty where nothing is to be said. Of the last threads().
  const std::string& threads_notice() const { return threads_notice_; }

  /// Ends all ranks with what was printed already.
  struct Over {
    int code;
  };
  /// Prints the error that is being handled, naming this rank, and ends all ranks. For errors that the others do not
  /// know of, whatever they wait for.
  [[noreturn]] void fail();

 private:
  void attempt(const std::function<void()>& step);
  [[noreturn]] void end(const std::string& messages, int code);
  std::vector<std::string> names() const;  // of the ranks

  const char* tool_;
  std::unique_ptr<Communicator> ranks_, on_device_;
  std::vector<std::string> hosts_;  // of each rank
  bool is_connected_ = false;
  std::string threads_notice_;
};

/// run_tool() for a tool that may be started as several ranks.
int run_job(const char* tool, const std::function<int(Job&)>& body);

/// The errors of ranks (empty: it has none) as lines, each once: as it is where all have it, behind the ranks' names
/// otherwise.
std::string told_once(const std::vector<std::string>& errors, const std::vector<std::string>& names);

/// What of `facts`, a text of "key=value" lines of each rank, the first rank that differs from rank 0 has otherwise;
/// empty where none does.
std::string disagreement(const std::vector<std::string>& facts, const std::vector<std::string>& names);

/// The threads of each rank where it is to use all `cores` it may run on, `places` naming host and cores of each: ranks
/// of the same place divide its cores, none getting less than one.
std::vector<int64_t> divided_cores(const std::vector<std::string>& places, const std::vector<int64_t>& cores);

}  // namespace striate
