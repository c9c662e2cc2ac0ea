#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace striate {

/// What a tool returns to the shell.
enum ExitCode { kDone = 0, kFailed = 1, kBadUsage = 2, kInterrupted = 130 };

/// A tool's flags: declared with the variables they set, then parsed. Bound variables must outlive the parse.
class CommandLine {
 public:
  /// `description` is a sentence or two; `examples` are flags, as they stand behind the tool's name in --help.
  CommandLine(std::string description, std::vector<std::string> examples);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// `value` says in --help what is expected: DIR, NAME, N.
  CommandLine& option(const std::string& flag, std::string& bound, const std::string& value, const std::string& help);
  CommandLine& option(const std::string& flag, int64_t& bound, const std::string& value, const std::string& help);
  CommandLine& option(const std::string& flag, double& bound, const std::string& value, const std::string& help);
  /// A flag with two values behind it; `value` names both: "LAYER F".
  CommandLine& option(const std::string& flag, std::array<std::string, 2>& bound, const std::string& value,
                      const std::string& help);
  /// A flag without a value; `bound` becomes true where it is given.
  CommandLine& flag(const std::string& flag, bool& bound, const std::string& help);
  /// May be given more than once.
  CommandLine& repeatable(const std::string& flag, std::vector<std::string>& bound, const std::string& value,
                          const std::string& help);
  /// One or more values behind it, up to the next flag; may be given more than once.
  CommandLine& list(const std::string& flag, std::vector<std::string>& bound, const std::string& value,
                    const std::string& help);
  /// What stands on the command line without a flag before it; `value` names it in --help: "FILE…".
  CommandLine& arguments(std::vector<std::string>& bound, const std::string& value, const std::string& help);

  /// False where --help was asked for and printed. Throws ConfigError for an unknown flag (naming the nearest), a
  /// missing value, a value that is not a number.
  bool parse(int argc, const char* const* argv);
  /// Whether the flag was given.
  bool given(const std::string& flag) const;
  /// The tool as it was called, for messages that say what to call next.
  const std::string& program() const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

/// Flags of every tool that reads a configuration.
struct CommonFlags {
  std::string config;            ///< a file
  std::vector<std::string> set;  ///< "a.b=value"
  std::string device, threads;   ///< empty: the configuration's

  void add_to(CommandLine& command_line);
  /// `set`, and --device and --threads as overrides of the same form.
  std::vector<std::string> overrides() const;
};

/// An error as a tool's user has it.
struct Failure {
  std::string message{};
  int code = kDone;
};
/// The exception that is being handled: ConfigError and ShapeError are bad usage, every other error is a failure.
Failure current_failure();

/// Runs a tool's body and turns what it throws into a line on standard error and an exit code.
int run_tool(const char* name, const std::function<int()>& body);

}  // namespace striate
