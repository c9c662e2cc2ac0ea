// The Hubel-Wiesel experiment: shows gratings to a network and measures what the units of a convolution prefer.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "kernels/error.h"
#include "models/registry.h"
#include "tools/command_line.h"
#include "tools/experiments/grating_folder.h"
#include "tools/experiments/layer_responses.h"
#include "tools/experiments/tuning.h"
#include "tools/experiments/tuning_figures.h"
#include "tools/experiments/tuning_table.h"
#include "tools/network_flags.h"
#include "tools/progress_line.h"
#include "tools/standalone_network.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string layer, gratings, write_gratings, frequencies, output;
  int64_t orientations = 8, phases = 5;
  bool pre_relu = false, post_relu = false, polar = false;
};

std::vector<double> parse_frequencies(const std::string& text) {
  std::vector<double> values;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    size_t used = 0;
    double value = 0.0;
    try {
      value = std::stod(part, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    require<ConfigError>(used > 0 && used == part.size(),
                         "--frequencies {}: '{}' is not a number; cycles per image are expected, as in 5.5,11,22", text,
                         part);
    values.push_back(value);
  }
  return values;
}

GratingGrid generated_grid(const CommandLine& command_line, const Flags& flags, int64_t width, int64_t channels) {
  require<ConfigError>(flags.orientations >= 3 && flags.orientations <= 1800, "--orientations {}: expected 3 to 1800",
                       flags.orientations);
  require<ConfigError>(flags.phases >= 1 && flags.phases <= 360, "--phases {}: expected 1 to 360", flags.phases);
  GratingGrid grid = course_grid(width, channels);
  grid.orientations_deg = even_orientations(flags.orientations);
  grid.phases_rad = even_phases(flags.phases);
  if (command_line.given("--frequencies")) {
    grid.cycles_per_image = parse_frequencies(flags.frequencies);
  } else if (!course_frequencies_fit(width)) {
    fmt::print(
        "An input {} pixels wide cannot show the course's frequencies; they keep their cycles per pixel: {:.3g} "
        "to {:.3g} cycles/image.\n",
        width, grid.cycles_per_image.front(), grid.cycles_per_image.back());
  }
  check_grid(grid, "the grid of gratings");
  return grid;
}

void warn(const std::string& message) {
  std::fflush(stdout);
  std::fputs(fmt::format("tune: warning: {}\n", message).c_str(), stderr);
}

void warn_of_grid(const GratingGrid& grid, int64_t width) {
  for (const double frequency : grid.cycles_per_image) {
    if (2.0 * frequency <= static_cast<double>(width)) continue;
    warn(
        fmt::format("{:g} cycles/image are less than two pixels a cycle on an input {} pixels wide: such a grating "
                    "looks like one of another frequency and orientation",
                    frequency, width));
    break;
  }
  if (grid.uneven()) {
    warn(
        "the orientations are not spread evenly over 180°: circular variance and preferred orientation are biased "
        "towards where they are dense");
  }
}

/// Default: a folder of the run's.
std::filesystem::path output_folder(const Flags& flags, const NetworkSource& source, const std::string& layer) {
  if (!flags.output.empty()) return flags.output;
  return source.run ? source.run->path() / ("tuning_" + layer) : std::filesystem::path();
}

/// Before anything is measured.
void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require<IoError>(!error, "--output {}: the folder cannot be made: {}", folder.string(), error.message());
}

int tune(int argc, char** argv) {
  CommandLine command_line(
      "The Hubel-Wiesel experiment: shows gratings to a network and measures which orientation and spatial frequency "
      "each unit of a convolution prefers, as physiologists do with cells of V1. Writes tuning.csv, the responses, a "
      "figure for each kernel and a histogram of circular variance.",
      {"--run runs/first", "--run runs/first --layer features.3 --post-relu --polar",
       "--model alexnet_owt --weights alexnet_owt.safetensors --output tuning",
       "--run runs/first --orientations 36 --frequencies 2,4,8,16,32,64 --phases 12 --output fine",
       "--model alexnet_owt --write-gratings gratings", "--run runs/first --gratings gratings"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--layer", flags.layer, "NAME", "A convolution, as inspect lists them (default: the first)")
      .flag("--pre-relu", flags.pre_relu, "Measure the convolution's own output (default)")
      .flag("--post-relu", flags.post_relu, "Measure after the batch norm and activation that follow it")
      .option("--gratings", flags.gratings, "DIR", "Read the gratings from a folder instead of drawing them")
      .option("--write-gratings", flags.write_gratings, "DIR", "Save the gratings that are drawn as JPEGs")
      .option("--orientations", flags.orientations, "N", "Draw N orientations (default 8)")
      .option("--frequencies", flags.frequencies, "A,B,...", "Draw these spatial frequencies, in cycles per image")
      .option("--phases", flags.phases, "N", "Draw N phases (default 5)")
      .flag("--polar", flags.polar, "Draw a polar plot for each kernel too")
      .option("--output", flags.output, "DIR",
              "Where all that is written goes (default: tuning_LAYER in the run's folder; without a run only the "
              "summary is printed)");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(!flags.pre_relu || !flags.post_relu, "--pre-relu and --post-relu exclude each other");
  if (!flags.gratings.empty()) {
    for (const char* flag : {"--write-gratings", "--orientations", "--frequencies", "--phases"}) {
      require<ConfigError>(!command_line.given(flag), "--gratings reads a folder as it is; {} cannot be given with it",
                           flag);
    }
  }

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  check_input_channels(models::resolve_input(source.config.model, source.sizes().input).back());
  const StandaloneNetwork network = open_network(source, "");
  const TestView& view = network.view;
  const NetworkInput input{view.height, view.width, view.channels, view.normalization.subtracted(),
                           view.normalization.std};
  const ConvLayer layer = find_conv(*network.model, flags.layer);
  const ResponseStage stage = flags.post_relu ? ResponseStage::post_relu : ResponseStage::pre_relu;
  fmt::print("{}, {}, layer {}, {}\n", source.config.model_name(), source.weights_description(), layer.name,
             to_string(stage));
  for (const std::string& notice :
       {device_notice(source.config.device), source.config.model.kernels_notice(), network.notice}) {
    if (!notice.empty()) fmt::print("{}\n", notice);
  }

  GratingPictures gratings;
  if (!flags.gratings.empty()) {
    gratings = read_gratings(flags.gratings, view.height, view.width, view.channels, warn);
  } else {
    gratings = drawn_gratings(generated_grid(command_line, flags, view.width, view.channels), view.height, view.width,
                              view.channels);
  }
  warn_of_grid(gratings.grid, view.width);
  if (!flags.write_gratings.empty()) {
    write_gratings(flags.write_gratings, gratings.grid, view.height, view.width, progress_line("gratings written"));
    fmt::print("{} gratings in {}\n", gratings.grid.size(), flags.write_gratings);
  }

  const std::filesystem::path output = output_folder(flags, source, layer.name);
  if (!output.empty()) make_folder(output);
  const LayerResponses responses = measure_responses(*network.model, layer, gratings, input, source.config.device,
                                                     stage, progress_line("gratings shown"));
  const std::vector<Tuning> tunings =
      measure_tunings(responses.grid, responses.values, static_cast<double>(responses.width));
  const GratingGrid& grid = responses.grid;
  fmt::print("{} gratings: {} orientations, {} frequencies, {} phases, {}; unit ({},{}) of the {}x{} map\n\n",
             grid.size(), grid.orientations_deg.size(), grid.cycles_per_image.size(), grid.phases_rad.size(),
             grid.colours.size() == 1 ? "1 colour" : "2 colours", responses.unit_y, responses.unit_x,
             responses.map_height, responses.map_width);
  fmt::print("{}", tuning_summary(tunings));

  if (output.empty()) {
    fmt::print("\n--output DIR keeps tuning.csv, the responses and the figures.\n");
    return kDone;
  }
  if (isatty(STDOUT_FILENO)) {
    fmt::print("\ndrawing the figures");
    std::fflush(stdout);
  }
  write_tuning_folder(responses, tunings, fmt::format("{}, layer {}", source.config.model_name(), layer.name),
                      {{"model", source.config.model_name()}, {"weights", source.weights.string()}}, output,
                      flags.polar ? PolarPlots::yes : PolarPlots::no);
  fmt::print(
      "{1}Numbers  {0}/tuning.csv, {0}/responses.safetensors\nFigures  {0}/circular_variance_histogram.png, "
      "{0}/kernel_*.png\n",
      output.string(), isatty(STDOUT_FILENO) ? "\r\x1b[K" : "\n");
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("tune", [&] { return striate::tune(argc, argv); });
}
