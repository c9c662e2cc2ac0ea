#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace striate::test {

/// How a tool ended and what it said.
struct Outcome {
  int code = 0;  ///< exit code, or 128 + the signal that ended it
  std::string out, err;
};

/// Where a tool's standard output goes: kept for the test, or into a pipe that nobody reads any more.
enum class Output { kept, closed_pipe };

/// One of the built tools, running with no terminal.
class Tool {
 public:
  /// Starts `name` of the build's tools/ folder, or a program of a whole path.
  Tool(const std::string& name, const std::vector<std::string>& arguments, Output output = Output::kept);
  ~Tool();  ///< kills it where it still runs
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number);
  /// Polls until `done` holds; false where the tool ended before.
  bool wait_until(const std::function<bool()>& done);
  Outcome wait();

 private:
  bool ended();
  pid_t pid_ = 0;
  bool ended_ = false;
  int status_ = 0;
  int out_ = -1, err_ = -1;
};

/// Runs it to its end.
Outcome run_tool(const std::string& name, const std::vector<std::string>& arguments);

/// Contents of a file; a test failure where it is missing.
std::string read_text(const std::filesystem::path& file);
std::vector<std::string> read_lines(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

}  // namespace striate::test
