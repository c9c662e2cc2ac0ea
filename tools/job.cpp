#include "tools/job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "engine/distributed/part_of.h"
#include "kernels/error.h"
#include "tools/command_line.h"

namespace striate {
namespace {

void print_error(const std::string& line) {
  std::fflush(stdout);
  std::fputs((line + "\n").c_str(), stderr);
  std::fflush(stderr);
}

// mpirun ends all ranks as soon as one has ended with an error: what rank 0 has to say of the same error comes first.
void leave_the_word_to_rank_0() { std::this_thread::sleep_for(std::chrono::seconds(1)); }

// What was printed lies in a pipe to mpirun, which has its own words for the end of a job.
void let_mpirun_pass_it_on() { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }

/// Host and cores that this process may run on.
std::pair<std::string, int64_t> place_of_this_process() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) {
    return {host_name(), std::max(1u, std::thread::hardware_concurrency())};
  }
  std::string place = host_name();
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) place += fmt::format(" {}", core);
  }
  return {place, std::max(1, CPU_COUNT(&set))};
}

std::map<std::string, std::string> values_of(const std::string& facts) {
  std::map<std::string, std::string> values;
  std::istringstream lines(facts);
  for (std::string line; std::getline(lines, line);) {
    const size_t split = line.find('=');
    values[line.substr(0, split)] = line.substr(split + 1);
  }
  return values;
}

}  // namespace

Job::Job(const char* tool) : tool_(tool), ranks_(single_process()), hosts_{host_name()} {
  if (launched_ranks() > 1) connect();
}

Job::~Job() = default;

void Job::connect() {
  if (is_connected_) return;
  try {
    ranks_ = connect_mpi();
  } catch (const ConfigError&) {
    if (launched_rank() == 0) throw;
    leave_the_word_to_rank_0();
    throw Over{kBadUsage};
  }
  is_connected_ = true;
  choose_gpu(*ranks_);
  hosts_ = ranks_->gathered_texts(host_name());
  // NOLINTNEXTLINE: where it fails nothing is printed either
  if (!leads() && std::freopen("/dev/null", "w", stdout) == nullptr) std::fclose(stdout);
}

std::vector<std::string> Job::names() const {
  std::vector<std::string> names;
  for (int rank = 0; rank < size(); ++rank) {
    names.push_back(fmt::format("rank {} on {}", rank, hosts_[static_cast<size_t>(rank)]));
  }
  return names;
}

Ranks Job::ranks_on(Device device) {
  if (on_host(device)) return {ranks_.get(), ranks_.get()};
  if (on_device_ == nullptr) on_device_ = device_communicator(*ranks_, device);
  return {ranks_.get(), on_device_.get()};
}

std::string Job::description() const {
  if (size() == 1) return "";
  const std::string own = ranks_->description();
  return fmt::format("{} ranks, {}", size(), own.substr(0, own.find(", rank ")));
}

void Job::end(const std::string& messages, int code) {
  if (leads()) print_error(messages);
  ranks_->barrier();
  throw Over{code};
}

void Job::attempt(const std::function<void()>& step) {
  if (size() == 1) return step();
  Failure mine;
  try {
    step();
  } catch (...) {
    mine = current_failure();
  }
  const std::vector<int> codes = ranks_->gathered(mine.code);
  const auto failed = std::find_if(codes.begin(), codes.end(), [](int code) { return code != kDone; });
  if (failed == codes.end()) return;
  end(fmt::format("{}: {}", tool_, told_once(ranks_->gathered_texts(mine.message), names())), *failed);
}

void Job::require_same(const JobFacts& facts) {
  if (size() == 1) return;
  std::string text;
  for (const auto& [key, value] : facts) {
    std::string line = fmt::format("{}={}", key, value);
    std::replace(line.begin(), line.end(), '\n', ' ');
    text += line + "\n";
  }
  const std::string difference = disagreement(ranks_->gathered_texts(text), names());
  if (!difference.empty()) end(fmt::format("{}: {}", tool_, difference), kBadUsage);
}

std::string Job::of_rank_0(const std::string& mine) { return ranks_->gathered_texts(leads() ? mine : "").front(); }

int64_t Job::threads(int64_t configured) {
  threads_notice_.clear();
  if (configured > 0 || size() == 1) return configured;
  const auto [place, cores] = place_of_this_process();
  const std::vector<std::string> places = ranks_->gathered_texts(place);
  const std::vector<int64_t> all = divided_cores(places, ranks_->gathered(cores));
  const int64_t online = ::sysconf(_SC_NPROCESSORS_ONLN);
  int64_t used = 0;
  for (int other = 0; other < size(); ++other) {
    const auto r = static_cast<size_t>(other);
    if (hosts_[r] == hosts_[static_cast<size_t>(rank())]) used += all[r];
  }
  const int64_t own = all[static_cast<size_t>(rank())];
  if (used < online) {
    threads_notice_ = fmt::format(
        "The ranks on {} may run on {} of its {} cores; mpirun --bind-to none, or --map-by slot:pe=N with N cores a "
        "rank, gives them more.",
        hosts_[static_cast<size_t>(rank())], used, online);
  }
  return own;
}

void Job::fail() {
  const Failure failure = current_failure();
  if (!leads()) leave_the_word_to_rank_0();
  print_error(fmt::format("{}: {}: {}", tool_, names()[static_cast<size_t>(rank())], failure.message));
  let_mpirun_pass_it_on();
  ranks_->abort(failure.code);
  std::_Exit(failure.code);  // not reached, which a compiler does not see through the virtual call
}

int run_job(const char* tool, const std::function<int(Job&)>& body) {
  return run_tool(tool, [&] {
    try {
      Job job(tool);
      try {
        const int code = body(job);
        job.ranks().barrier();  // mpirun would end those that still work when one ends with another code than 0
        return code;
      } catch (const Job::Over& over) {
        return over.code;
      } catch (...) {
        if (job.size() == 1) throw;
        job.fail();
      }
    } catch (const Job::Over& over) {
      return over.code;
    }
  });
}

std::string told_once(const std::vector<std::string>& errors, const std::vector<std::string>& names) {
  std::string lines;
  std::set<std::string> told;
  for (const std::string& error : errors) {
    if (error.empty() || !told.insert(error).second) continue;
    std::vector<std::string> who;
    for (size_t r = 0; r < errors.size(); ++r) {
      if (errors[r] == error) who.push_back(names[r]);
    }
    if (!lines.empty()) lines += "\n";
    lines += who.size() == names.size() ? error : fmt::format("{}: {}", fmt::join(who, ", "), error);
  }
  return lines;
}

std::string disagreement(const std::vector<std::string>& facts, const std::vector<std::string>& names) {
  const std::map<std::string, std::string> first = values_of(facts.front());
  for (size_t r = 1; r < facts.size(); ++r) {
    if (facts[r] == facts.front()) continue;
    std::map<std::string, std::string> expected = first, found = values_of(facts[r]);
    for (const auto& [key, value] : expected) found.try_emplace(key, "absent");
    std::vector<std::string> differences;
    for (const auto& [key, value] : found) {
      const std::string& other = expected.try_emplace(key, "absent").first->second;
      if (value != other) differences.push_back(fmt::format("{}: {}, not {}", key, value, other));
    }
    return fmt::format("{} differs from {} in {}; all ranks need the same configuration, data and build", names[r],
                       names.front(), fmt::join(differences, "; "));
  }
  return "";
}

std::vector<int64_t> divided_cores(const std::vector<std::string>& places, const std::vector<int64_t>& cores) {
  std::vector<int64_t> threads;
  for (size_t r = 0; r < places.size(); ++r) {
    const auto begin = places.begin();
    const int64_t before = std::count(begin, begin + static_cast<std::ptrdiff_t>(r), places[r]);
    threads.push_back(
        std::max<int64_t>(1, part_of(cores[r], before, std::count(begin, places.end(), places[r])).size()));
  }
  return threads;
}

}  // namespace striate
