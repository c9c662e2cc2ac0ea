#include "tools/command_line.h"

#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {

struct CommandLine::Parser {
  CLI::App app;
  std::string program;
  std::vector<std::string> flags{"--help"}, examples;

  CLI::Option* remember(const std::string& flag, const std::string& value, CLI::Option* option) {
    flags.push_back(flag);
    return option->type_name(value)->expected(1)->allow_extra_args(false);
  }
};

CommandLine::CommandLine(std::string description, std::vector<std::string> examples)
    : parser_(std::make_unique<Parser>()) {
  parser_->examples = std::move(examples);
  CLI::App& app = parser_->app;
  app.description(std::move(description));
  app.allow_extras();
  app.set_help_flag("-h,--help", "Print this and exit");
  app.get_formatter()->column_width(30);
}

CommandLine::~CommandLine() = default;

CommandLine& CommandLine::option(const std::string& flag, std::string& bound, const std::string& value,
                                 const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help));
  return *this;
}

CommandLine& CommandLine::option(const std::string& flag, int64_t& bound, const std::string& value,
                                 const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help));
  return *this;
}

CommandLine& CommandLine::option(const std::string& flag, double& bound, const std::string& value,
                                 const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help));
  return *this;
}

CommandLine& CommandLine::option(const std::string& flag, std::array<std::string, 2>& bound, const std::string& value,
                                 const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help))->type_size(2)->expected(1);
  return *this;
}

CommandLine& CommandLine::flag(const std::string& flag, bool& bound, const std::string& help) {
  parser_->flags.push_back(flag);
  parser_->app.add_flag(flag, bound, help);
  return *this;
}

CommandLine& CommandLine::repeatable(const std::string& flag, std::vector<std::string>& bound, const std::string& value,
                                     const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

CommandLine& CommandLine::list(const std::string& flag, std::vector<std::string>& bound, const std::string& value,
                               const std::string& help) {
  parser_->remember(flag, value, parser_->app.add_option(flag, bound, help))
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

CommandLine& CommandLine::arguments(std::vector<std::string>& bound, const std::string& value,
                                    const std::string& help) {
  parser_->app.add_option(value, bound, help)->type_name("");
  return *this;
}

bool CommandLine::parse(int argc, const char* const* argv) {
  CLI::App& app = parser_->app;
  parser_->program = argv[0];
  app.name(parser_->program);
  std::string footer = "\nExamples:";
  for (const std::string& example : parser_->examples) footer += fmt::format("\n  {} {}", parser_->program, example);
  app.footer(footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    throw ConfigError(fmt::format("{}; --help lists the flags", error.what()));
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& value : option->results()) {
      require<ConfigError>(!value.starts_with("--"), "{}: its value is missing; '{}' is a flag", option->get_name(),
                           value);
    }
  }
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) return true;
  const std::string unknown = extras.front().substr(0, extras.front().find('='));
  require<ConfigError>(unknown.rfind('-', 0) == 0, "'{}' was not expected; --help lists the flags", unknown);
  const std::string near = nearest(unknown, parser_->flags);
  throw ConfigError(near.empty() ? fmt::format("unknown flag '{}'; --help lists the flags", unknown)
                                 : fmt::format("unknown flag '{}'; did you mean '{}'?", unknown, near));
}

bool CommandLine::given(const std::string& flag) const { return parser_->app.count(flag) > 0; }

const std::string& CommandLine::program() const { return parser_->program; }

void CommonFlags::add_to(CommandLine& command_line) {
  command_line.option("--config", config, "F", "YAML configuration; tools/configs/ has some")
      .repeatable("--set", set, "KEY=VALUE", "Override a key, as in --set train.epochs=5; may be repeated")
      .option("--device", device, "NAME", "auto, reference, cpu or cuda")
      .option("--threads", threads, "N", "Threads of the kernels; 0 takes every core");
}

std::vector<std::string> CommonFlags::overrides() const {
  std::vector<std::string> all = set;
  if (!device.empty()) all.push_back("device=" + device);
  if (!threads.empty()) all.push_back("threads=" + threads);
  return all;
}

Failure current_failure() {
  try {
    throw;
  } catch (const ConfigError& error) {
    return {error.what(), kBadUsage};
  } catch (const ShapeError& error) {
    return {error.what(), kBadUsage};
  } catch (const std::bad_alloc&) {
    return {"out of memory; a smaller train.batch_size or data.image_size needs less", kFailed};
  } catch (const std::exception& error) {
    return {error.what(), kFailed};
  }
}

int run_tool(const char* name, const std::function<int()>& body) {
  // A pipe whose reader has gone is a failed write, not the end: a run goes on and saves.
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return body();
  } catch (...) {
    const Failure failure = current_failure();
    std::fflush(stdout);
    std::fputs(fmt::format("{}: {}\n", name, failure.message).c_str(), stderr);
    return failure.code;
  }
}

}  // namespace striate
