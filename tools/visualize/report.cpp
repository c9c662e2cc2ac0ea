#include "tools/experiments/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>

#include "data/jpeg_encoder.h"
#include "data/transforms/resize.h"
#include "engine/train/atomic_file.h"
#include "engine/train/interrupt.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tools/experiments/layer_responses.h"
#include "tools/experiments/number_text.h"
#include "tools/experiments/png.h"
#include "tools/experiments/tuning_table.h"
#include "tools/machine.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/image_source.h"
#include "tools/visualize/judge.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

namespace fs = std::filesystem;

/// More epochs than these are an even choice, so that the page stays small.
constexpr size_t kMostEpochs = 40;

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What the log says after the last "machine: "; empty where it says nothing.
std::string machine_of_log(const fs::path& log) {
  std::ifstream in(log);
  std::string machine;
  for (std::string line; std::getline(in, line);) {
    constexpr std::string_view kMark = "machine: ";
    if (const size_t at = line.find(kMark); at != std::string::npos) machine = line.substr(at + kMark.size());
  }
  return machine;
}

std::optional<double> last_of(const MetricsTable& metrics, const std::string& column) {
  const auto values = metrics.column(column);
  const auto known = std::find_if(values.rbegin(), values.rend(), [](const auto& value) { return value.has_value(); });
  return known == values.rend() ? std::nullopt : *known;
}

/// The epoch that left these weights; the last one's name the next.
int64_t epoch_of(const std::string& weights, const MetricsTable& metrics) {
  const auto last = static_cast<int64_t>(last_of(metrics, "epoch").value_or(0.0));
  const std::string text = read_safetensors_metadata(weights)["epoch"];
  int64_t epoch = 0;
  const bool known = std::from_chars(text.data(), text.data() + text.size(), epoch).ec == std::errc();
  return known ? std::min(epoch, last) : last;
}

/// "12 min 5 s"
std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

/// The page's first line, and what stands at its end about the training.
void describe_training(const MetricsTable& metrics, Report& report) {
  const auto epochs = last_of(metrics, "epoch");
  const auto test = last_of(metrics, "test_top1"), val = last_of(metrics, "val_top1");
  if (test) {
    report.headline = fmt::format("{:.2f} % of the test pictures right", 100.0 * *test);
  } else if (val) {
    report.headline = fmt::format("{:.2f} % of the validation pictures right", 100.0 * *val);
  }
  if (epochs)
    report.headline +=
        fmt::format("{}{:g} epoch{}", report.headline.empty() ? "" : ", ", *epochs, *epochs == 1.0 ? "" : "s");
  double seconds = 0.0;
  for (const auto& value : metrics.column("seconds")) seconds += value.value_or(0.0);
  if (seconds > 0.0) report.facts.emplace_back("training time", duration(seconds));
  if (const auto rate = last_of(metrics, "images_per_second")) {
    report.facts.emplace_back("training rate",
                              fmt::format("{} images/s in the last epoch", grouped(std::lround(*rate))));
  }
}

/// Small pictures as they are, larger ones as a thumbnail.
std::string picture_bytes(const Image& image) {
  constexpr int kSide = 128;
  if (std::max(image.height, image.width) <= 64) return encode_png(image);
  Image small = image;
  if (const int longer = std::max(image.height, image.width); longer > kSide) {
    const auto side = [&](int pixels) { return std::max(1, pixels * kSide / longer); };
    TransformScratch scratch;
    resize_bilinear(image, side(image.height), side(image.width), small, scratch);
  }
  const std::vector<uint8_t> bytes = encode_jpeg(small, 85);
  return {bytes.begin(), bytes.end()};
}

/// `count` of them, evenly spread: a part may be sorted by class.
std::vector<Judgement> some_of(const std::vector<Judgement>& all, size_t count) {
  std::vector<Judgement> some;
  count = std::min(all.size(), count);
  for (size_t n = 0; n < count; ++n) some.push_back(all[n * all.size() / count]);
  return some;
}

std::vector<ReportSample> samples_of(const std::vector<Judgement>& judgements, const ImageSource& source) {
  std::vector<ReportSample> samples;
  for (const Judgement& j : judgements) {
    samples.push_back({picture_bytes(source.picture(j.place)), source.class_names()[j.truth],
                       source.class_names()[j.predicted], j.probability});
  }
  return samples;
}

/// Confusion matrix and pictures of a part; false where Ctrl-C was pressed.
bool show_part(ImageSource& source, size_t count, Report& report) {
  std::optional<Judgements> judged = judge_all(source, "evaluating");
  if (!judged) return false;
  report.confusion = judged->evaluation.confusion;
  report.classes = source.class_names();
  report.samples.emplace();
  report.samples->wrong_in_all = std::ssize(judged->wrong);
  report.samples->right_in_all = std::ssize(judged->right);
  judged->wrong.resize(std::min(judged->wrong.size(), count));
  report.samples->wrong = samples_of(judged->wrong, source);
  report.samples->right = samples_of(some_of(judged->right, count), source);
  return true;
}

/// The first layer as the weights have it, for a run that kept no kernels and measured nothing on the way.
void measure_now(const NetworkSource& network, int64_t epoch, Report& report) {
  const StandaloneNetwork standalone = open_network(network, "");
  const ConvLayer layer = find_conv(*standalone.model, "");
  report.kernels.emplace();
  report.kernels->layer = layer.name;
  report.kernels->add(epoch, layer.conv->weight.to(Device::cpu));
  const TestView& view = standalone.view;
  if (view.channels != 1 && view.channels != 3) return;
  const GratingGrid grid = course_grid(view.width, view.channels);
  const LayerResponses responses = measure_responses(
      *standalone.model, layer, drawn_gratings(grid, view.height, view.width, view.channels),
      {view.height, view.width, view.channels, view.normalization.subtracted(), view.normalization.std},
      network.config.device, ResponseStage::pre_relu);
  const std::vector<Tuning> tunings = measure_tunings(grid, responses.values, static_cast<double>(view.width));
  TuningHistory& history = report.tuning.emplace();
  history.orientations = grid.orientations_deg;
  history.frequencies = grid.cycles_per_image;
  history.columns = {"kernel", "responsive"};
  for (const TuningColumn& column : tuning_columns()) history.columns.emplace_back(column.name);
  std::vector<std::vector<std::optional<double>>> rows;
  for (size_t k = 0; k < tunings.size(); ++k) {
    auto& row = rows.emplace_back();
    row.push_back(static_cast<double>(k));
    row.push_back(tunings[k].responsive ? 1.0 : 0.0);
    for (const TuningColumn& column : tuning_columns()) {
      const double value = tunings[k].*column.value;
      row.push_back(std::isnan(value) ? std::nullopt : std::optional(value));
    }
  }
  history.add(epoch, rows, responses.values);
}

}  // namespace

int report(int argc, const char* const* argv) {
  CommandLine command_line(
      "Lays a run out as one HTML page that needs no network: learning curves, the first layer's kernels over the "
      "epochs with what each is tuned to, circular variance beside macaque V1, confusion matrix, pictures right and "
      "wrong, configuration and machine. Kernels over the epochs are there where train ran with analysis.kernels and "
      "analysis.tuning.",
      {"--run runs/quickstart", "--run runs/first --split val --count 40 --output first.html"});
  ImageFlags flags;
  std::string output;
  int64_t count = 24;
  flags.add_to(command_line, false);
  command_line.option("--count", count, "N", "Pictures of each kind, right and wrong (default 24)")
      .option("--output", output, "F", "The page (default report.html in the run's folder)");
  if (!command_line.parse(argc, argv)) return kDone;
  require_between("--count", count, 0, 500);
  require<ConfigError>(!flags.network.run.empty(),
                       "--run DIR is missing: a report is about a run, a folder of train's");

  const InterruptGuard guard;
  const NetworkSource network = flags.network.resolve(flags.common, NetworkFlags::Data::needed);
  const RunFolder& run = *network.run;
  Report page;
  page.title = fmt::format("{} on {}", network.config.model_name(), network.config.data.dataset);
  page.split = flags.split;
  page.facts = {{"run", run.path().string()}, {"weights", network.weights.string()}};
  page.configuration = text_of(run.config());
  page.metrics = MetricsTable::read(run.metrics());
  describe_training(*page.metrics, page);
  if (const std::string machine = machine_of_log(run.path() / "log.txt"); !machine.empty()) {
    page.facts.emplace_back("trained on", machine);
  }
  page.facts.emplace_back("this page made on", machine_description(network.config.device));

  page.kernels = read_kernel_history(run.path(), kMostEpochs);
  page.tuning = read_tuning_history(run.path(), kMostEpochs);
  if (!page.kernels) {
    measure_now(network, epoch_of(network.weights.string(), *page.metrics), page);
    page.notes.push_back(
        "The run kept no kernels on its way: those of its " + network.weights.filename().string() +
        " are shown. Train with --set analysis.kernels=true --set analysis.tuning=true for all epochs.");
  }
  try {
    ImageSource source(flags);
    source.require_labels();
    if (!show_part(source, static_cast<size_t>(count), page)) return kInterrupted;
  } catch (const IoError& error) {
    page.notes.push_back(
        fmt::format("No confusion matrix and no pictures: the dataset cannot be read ({}).", error.what()));
    fmt::print(stderr, "visualize: warning: {}\n", page.notes.back());
  }

  const fs::path file = output.empty() ? run.path() / "report.html" : fs::path(output);
  write_file_atomically(file.string(), report_page(page));
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
