// Classifies pictures: the five likeliest classes of each, a heat map of all probabilities, JSON.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "data/datasets/image_files.h"
#include "data/datasets/picture_files.h"
#include "data/image_file.h"
#include "data/loader.h"
#include "data/transforms/channels.h"
#include "data/transforms/resize.h"
#include "engine/autograd.h"
#include "engine/train/atomic_file.h"
#include "engine/train/interrupt.h"
#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/probability_figure.h"
#include "tools/network_flags.h"
#include "tools/standalone_network.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::vector<std::string> images;
  std::string labels, heatmap, json;
};

/// On standard error, behind what was printed before it.
void complain(const std::string& message) {
  std::fflush(stdout);
  std::fputs(fmt::format("predict: {}\n", message).c_str(), stderr);
}

struct Images {
  std::vector<fs::path> files;
  int64_t bad = 0;  ///< arguments that gave no file, each complained of
};

Images find_images(const std::vector<std::string>& arguments) {
  Images images;
  const auto bad = [&](const std::string& message) {
    complain(message);
    ++images.bad;
  };
  for (const std::string& argument : arguments) {
    std::error_code ignored;
    if (!fs::exists(argument, ignored)) {
      bad(fmt::format("{}: there is no such file or folder", argument));
    } else if (!fs::is_directory(argument, ignored)) {
      images.files.emplace_back(argument);
    } else {
      try {
        const std::vector<std::string> files = picture_files(argument);
        images.files.insert(images.files.end(), files.begin(), files.end());
        if (files.empty()) bad(fmt::format("{}: no pictures (jpg, png, bmp, ppm) in the folder", argument));
      } catch (const IoError& error) {
        bad(error.what());
      }
    }
  }
  return images;
}

/// What the network says of one picture.
struct Prediction {
  std::vector<float> logits;
  std::vector<double> probabilities;
  std::vector<size_t> top;  ///< the five likeliest classes
};

Prediction prediction_of(const float* logits, int64_t classes, const std::string& file) {
  Prediction p;
  p.logits.assign(logits, logits + classes);
  require<Error>(std::all_of(p.logits.begin(), p.logits.end(), [](float v) { return std::isfinite(v); }),
                 "{}: the network's output is not finite; its weights are broken", file);
  const double highest = *std::max_element(p.logits.begin(), p.logits.end());
  double sum = 0.0;
  for (const float logit : p.logits) sum += p.probabilities.emplace_back(std::exp(double{logit} - highest));
  for (double& value : p.probabilities) value /= sum;
  p.top.resize(static_cast<size_t>(classes));
  std::iota(p.top.begin(), p.top.end(), size_t{0});
  std::stable_sort(p.top.begin(), p.top.end(), [&](size_t a, size_t b) { return p.logits[a] > p.logits[b]; });
  p.top.resize(std::min<size_t>(5, p.top.size()));
  return p;
}

std::string sentence(const std::string& name, double probability) {
  const bool vowel = !name.empty() &&
                     std::string("aeiou").find(static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])))) !=
                         std::string::npos;
  return fmt::format("Image of {} {} (probability: {:.1f}%)", vowel ? "an" : "a", name, 100.0 * probability);
}

/// `--json`, an object a picture as they come; the file appears whole, on commit().
class JsonList {
 public:
  explicit JsonList(const std::string& file) : file_(file) { file_.write("["); }

  void add(const std::string& file, const Prediction& p, const std::vector<std::string>& names) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (const size_t c : p.top) {
      top.push_back({{"class", c}, {"label", names[c]}, {"probability", p.probabilities[c]}});
    }
    const nlohmann::ordered_json image = {{"file", file}, {"top", top}, {"logits", p.logits}};
    // File names need not be UTF-8.
    file_.write(std::string(first_ ? "\n" : ",\n") +
                image.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    first_ = false;
  }
  void commit() {
    file_.write("\n]\n");
    file_.commit();
  }

 private:
  AtomicFile file_;
  bool first_ = true;
};

/// Small enough for a figure, in its own shape.
Thumbnail thumbnail_of(const fs::path& file) {
  Image image = read_image(file), other;
  if (image.channels == 1) {
    convert_channels(image, 3, other);
    std::swap(image, other);
  }
  constexpr int kSide = 240;
  if (const int longer = std::max(image.height, image.width); longer > kSide) {
    const double scale = static_cast<double>(kSide) / longer;
    const auto side = [&](int pixels) { return std::max(1, static_cast<int>(std::lround(scale * pixels))); };
    TransformScratch scratch;
    resize_bilinear(image, side(image.height), side(image.width), other, scratch);
    std::swap(image, other);
  }
  return {image.height, image.width, std::move(image.pixels)};
}

/// Where heat maps go: F itself for one picture, F with the picture's name (and a number where two are called alike)
/// for several.
class HeatMaps {
 public:
  HeatMaps(std::string file, bool several, std::string network)
      : file_(std::move(file)), several_(several), network_(std::move(network)) {}

  fs::path draw(const fs::path& image, const Prediction& p, const std::vector<std::string>& names) {
    const fs::path png = several_ ? next_name(image.stem().string()) : file_;
    draw_probabilities(p.probabilities, names, thumbnail_of(image), image.filename().string(),
                       fmt::format("{}: the probability of each of {} classes", network_, names.size()), png);
    return png;
  }

 private:
  fs::path next_name(const std::string& image) {
    std::string name = image;
    for (int number = 2; !taken_.insert(name).second; ++number) name = fmt::format("{}-{}", image, number);
    return file_.parent_path() / fmt::format("{}_{}{}", file_.stem().string(), name, file_.extension().string());
  }

  fs::path file_;
  bool several_;
  std::string network_;
  std::set<std::string> taken_;
};

/// False at the end, which may come with no picture read: each was complained of then.
bool next_batch(Loader& loader, Batch& batch) {
  try {
    return loader.next(batch);
  } catch (const IoError&) {
    if (loader.broken() < loader.samples()) throw;
    return false;
  }
}

int predict(int argc, char** argv) {
  CommandLine command_line(
      "Classifies pictures, files or folders of them: the five likeliest classes of each. A picture that cannot be "
      "read "
      "is named on standard error and the others are classified; exit code 1 where none could be.",
      {"--run runs/quickstart boot.png", "--run runs/quickstart photos/ --json predictions.json",
       "--model alexnet --weights alexnet.safetensors --labels imagenet_classes.txt dog.jpg",
       "--model alexnet --weights alexnet.safetensors dog.jpg --heatmap dog_heatmap.png"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.arguments(flags.images, "images", "Picture files, or folders, which are searched for pictures")
      .option("--labels", flags.labels, "F", "Names of the classes: one a line, or JSON (default: the run's)")
      .option("--heatmap", flags.heatmap, "F.png",
              "Draw all probabilities, the five highest named; for several pictures one figure each, F_NAME.png")
      .option("--json", flags.json, "F", "Write the five likeliest classes and all logits of every picture");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(!flags.images.empty(), "no picture is named: {} … FILE or FOLDER", command_line.program());

  require<Error>(flags.heatmap.empty() || gnuplot_available(), "--heatmap: {}", kGnuplotMissing);

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  const StandaloneNetwork network = open_network(source, flags.labels);
  const Images images = find_images(flags.images);
  if (images.files.empty()) return kFailed;

  fmt::print("{}, {}\n", source.config.model_name(), source.weights_description());
  if (!network.notice.empty()) fmt::print("{}\n", network.notice);
  for (const std::string& notice : {device_notice(source.config.device), source.config.model.kernels_notice()}) {
    if (!notice.empty()) fmt::print("{}\n", notice);
  }

  const auto files = std::make_shared<const ImageFiles>(images.files, network.view);
  SampleSet set{files, std::vector<int64_t>(images.files.size()), {}};
  std::iota(set.indices.begin(), set.indices.end(), int64_t{0});
  constexpr int64_t kMostAtOnce = 64;  // more gain nothing, and the first lines come later
  Loader loader(set, network.view.normalization,
                {.batch_size = std::min({kMostAtOnce, source.config.train.batch_size, files->size()}),
                 .height = network.view.height,
                 .width = network.view.width,
                 .channels = network.view.channels,
                 .workers = source.config.data.workers,
                 .skip_broken = true,
                 .device = source.config.device,
                 .dtype = source.config.image_type(),
                 .on_broken = complain});

  std::optional<JsonList> json;
  if (!flags.json.empty()) json.emplace(flags.json);
  HeatMaps heat_maps(flags.heatmap, files->size() > 1, source.config.model_name());
  const InterruptGuard guard;
  const NoGradGuard no_grad;
  Batch batch;
  loader.start(0);
  while (next_batch(loader, batch)) {
    const Tensor logits = (*network.model)(batch.images.to(source.config.device)).to(DType::float32).to(Device::cpu);
    for (size_t i = 0; i < batch.places.size(); ++i) {
      if (InterruptGuard::requested()) return kInterrupted;
      const auto place = static_cast<size_t>(batch.places[i]);
      const std::string file = files->describe(batch.places[i]);
      const Prediction p =
          prediction_of(logits.data<float>() + static_cast<int64_t>(i) * network.classes, network.classes, file);
      fmt::print("\n{}\n", file);
      for (const size_t c : p.top) fmt::print("{}\n", sentence(network.class_names[c], p.probabilities[c]));
      if (json) json->add(file, p, network.class_names);
      if (!flags.heatmap.empty()) {
        fmt::print("heat map: {}\n", heat_maps.draw(images.files[place], p, network.class_names).string());
      }
    }
    std::fflush(stdout);
  }
  if (loader.broken() == files->size()) return kFailed;
  if (json) json->commit();
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("predict", [&] { return striate::predict(argc, argv); });
}
