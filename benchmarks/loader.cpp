// Images a second of a dataset with its transforms, and no model: what reading, decoding, transforming and normalising
// cost by themselves.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/open.h"
#include "engine/config.h"
#include "engine/train/atomic_file.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/machine.h"
#include "tools/run_config.h"

namespace striate::bench {
namespace {

/// Batches that allocate and touch memory, and that the workers have ready when the clock starts.
constexpr int64_t kWarmUp = 4;

struct Flags {
  CommonFlags common;
  std::string split = "train", json, first_batch;
  int64_t batches = 0, workers = -1;
};

/// The configuration, which need not name a model; has_model says whether it does.
RunConfig load_config(const Flags& flags, bool& has_model) {
  std::vector<std::string> overrides = flags.common.overrides();
  if (flags.workers >= 0) overrides.push_back(fmt::format("data.workers={}", flags.workers));
  ConfigReader reader = ConfigReader::load(flags.common.config, overrides);
  require<ConfigError>(reader.section("data").has("dataset"),
                       "no dataset is named: --config F, or --set data.dataset=NAME and --set data.path=PATH");
  ConfigReader model = reader.section("model");
  has_model = model.has("name") || model.has("layers");
  if (!has_model) overrides.push_back("model.name=lenet");
  return RunConfig::load(flags.common.config, overrides);
}

/// The processor's time that this process has taken, in seconds.
double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The batches of one epoch after another.
class Endless {
 public:
  explicit Endless(Loader& loader) : loader_(loader) { loader_.start(0); }
  /// Images of the next batch.
  int64_t next() {
    while (!loader_.next(batch_)) loader_.start(++epoch_);
    return batch_.labels.size();
  }
  const Batch& batch() const { return batch_; }

 private:
  Loader& loader_;
  Batch batch_;
  int64_t epoch_ = 0;
};

int loader_benchmark(int argc, char** argv) {
  CommandLine command_line(
      "Measures images a second of a dataset with its transforms and no model: reading, decoding, transforming and "
      "normalising, by --workers threads, and for --device cuda by the GPU, where the batches then lie.",
      {"--config tools/configs/quickstart.yaml --batches 100",
       "--set data.dataset=image_folder --set data.path=pictures --set 'data.train_transforms=[{random_resized_crop: "
       "224}, horizontal_flip]' --workers 2 --json loader.json"});
  Flags flags;
  flags.common.add_to(command_line);
  command_line.option("--batches", flags.batches, "N", "Measure so many batches (default: an epoch, 20 at least)")
      .option("--workers", flags.workers, "N", "Threads that load; 0: the one that measures (default: data.workers)")
      .option("--split", flags.split, "S",
              "train (default), augmented and in the training's order; val, test or unlabelled, as they are evaluated")
      .option("--first-batch", flags.first_batch, "F", "Write the first batch (images, labels) as safetensors")
      .option("--json", flags.json, "F", "Write the figures as JSON");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.batches >= (command_line.given("--batches") ? 1 : 0) && flags.batches <= 1'000'000,
                       "--batches {}: expected 1 to 1000000", flags.batches);
  require<ConfigError>(!command_line.given("--workers") || (flags.workers >= 0 && flags.workers <= 1024),
                       "--workers {}: expected 0 to 1024", flags.workers);

  bool has_model = false;
  const RunConfig config = load_config(flags, has_model);
  OpenOptions options = config.open_options();
  if (!has_model) options.model_height = options.model_width = 0;
  options.device = config.device;
  options.dtype = config.image_type();
  Data data = open_data(config.data, options);
  const auto part =
      flags.split == "train" ? std::move(data.train) : data.evaluation_loader(flags.split, config.train.batch_size);
  fmt::print("{}, {}: {} images of {}x{}x{} in batches of {}, {} worker{}\n", config.data.dataset, flags.split,
             part->samples(), data.height, data.width, data.channels, part->batch_size(), config.data.workers,
             config.data.workers == 1 ? "" : "s");

  Endless source(*part);
  source.next();
  if (!flags.first_batch.empty()) {
    write_safetensors(
        flags.first_batch,
        {{"images", source.batch().images.to(DType::float32).to(Device::cpu)}, {"labels", source.batch().labels}}, {});
  }
  for (int64_t i = 1; i < kWarmUp; ++i) source.next();
  synchronize(config.device);
  if (const std::string notice = times_notice(config.device); !notice.empty()) fmt::print("{}\n", notice);
  const int64_t batches = flags.batches > 0 ? flags.batches : std::max<int64_t>(20, part->batches());
  const double processor_before = processor_seconds();
  const auto begin = std::chrono::steady_clock::now();
  int64_t images = 0;
  for (int64_t i = 0; i < batches; ++i) images += source.next();
  synchronize(config.device);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double processor_ms = (processor_seconds() - processor_before) * 1e3 / static_cast<double>(images);
  const double rate = static_cast<double>(images) / seconds;
  fmt::print("{:.1f} images/s: {} images in {:.2f} s, {:.3f} ms of a core each\n", rate, images, seconds, processor_ms);
  if (!flags.json.empty()) {
    nlohmann::ordered_json document = {{"images_per_second", rate},
                                       {"images", images},
                                       {"seconds", seconds},
                                       {"core_ms_per_image", processor_ms},
                                       {"dataset", config.data.dataset},
                                       {"split", flags.split},
                                       {"device", to_string(config.device)},
                                       {"image", {data.height, data.width, data.channels}},
                                       {"batch", part->batch_size()},
                                       {"workers", config.data.workers}};
    for (const auto& [name, value] : provenance(config.device)) document["provenance"][name] = value;
    write_file_atomically(flags.json, document.dump(2) + "\n");
  }
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("loader", [&] { return striate::bench::loader_benchmark(argc, argv); });
}
