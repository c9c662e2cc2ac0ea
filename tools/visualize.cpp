// Draws pictures of data, networks and runs; each picture is a subcommand of its own, in visualize/.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "engine/config.h"
#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/visualize/subcommands.h"

namespace striate {
namespace {

struct Subcommand {
  const char* name;
  int (*run)(int argc, const char* const* argv);
  const char* summary;
};

constexpr Subcommand kSubcommands[] = {
    {"samples", visualize::samples, "pictures of a dataset with their classes' names"},
    {"filters", visualize::filters, "the kernels of a convolution"},
    {"filtered", visualize::filtered, "pictures through a convolution's kernels"},
    {"predictions", visualize::predictions, "pictures with true and predicted class, wrong ones marked"},
    {"errors", visualize::errors, "the wrong predictions that the network was surest of"},
    {"embedding", visualize::embedding, "features or logits in a plane: PCA and t-SNE"},
    {"imagine", visualize::imagine, "pictures that a unit or class responds to most: activation maximisation"},
    {"confusion", visualize::confusion, "which class is taken for which"},
    {"report", visualize::report, "a whole run as one HTML page"},
    {"compare", visualize::compare, "losses, accuracies and time per epoch of any runs on one plot"},
};

void print_help(const std::string& program) {
  fmt::print(
      "Draws pictures of data, networks and runs: PNG, or SVG where --output ends in .svg.\n"
      "Usage: {} SUBCOMMAND [FLAGS]\n\nSubcommands, each with a --help of its own:\n",
      program);
  for (const Subcommand& subcommand : kSubcommands) fmt::print("  {:<12} {}\n", subcommand.name, subcommand.summary);
  fmt::print(
      "\nExamples:\n  {0} samples --config tools/configs/quickstart.yaml\n"
      "  {0} filters --run runs/quickstart\n  {0} report --run runs/quickstart\n  {0} compare --runs runs/a runs/b\n",
      program);
}

int visualize_main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h") {
    print_help(argv[0]);
    return kDone;
  }
  std::vector<std::string> names;
  for (const Subcommand& subcommand : kSubcommands) {
    names.emplace_back(subcommand.name);
    if (name != subcommand.name) continue;
    // The subcommand is a tool by itself: its name belongs to the program's.
    const std::string program = fmt::format("{} {}", argv[0], name);
    std::vector<const char*> arguments{program.c_str()};
    arguments.insert(arguments.end(), argv + 2, argv + argc);
    return subcommand.run(static_cast<int>(arguments.size()), arguments.data());
  }
  require<ConfigError>(!name.empty(), "what to draw is missing: {} SUBCOMMAND; --help lists them", argv[0]);
  const std::string near = nearest(name, names);
  throw ConfigError(fmt::format("no subcommand '{}'{}; --help lists them", name,
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near)));
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("visualize", [&] { return striate::visualize_main(argc, argv); });
}
