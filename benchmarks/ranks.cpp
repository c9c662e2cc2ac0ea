// Training steps of a network by several ranks, under mpirun: time, bytes that one sends, and the wait for gradients of
// others that the backward does not hide. Under one process the same figures to compare with.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "benchmarks/timed_network.h"
#include "engine/distributed/part_of.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "models/one_weird_trick.h"
#include "models/registry.h"
#include "models/summary.h"
#include "tools/command_line.h"
#include "tools/job.h"
#include "tools/machine.h"
#include "tools/network_flags.h"

namespace striate::bench {
namespace {

constexpr int64_t kWarmUp = 3;

int ranks(int argc, char** argv, Job& job) {
  CommandLine command_line(
      "Measures training steps of a network by several ranks on random images: start it under mpirun, or alone to "
      "compare with.",
      {"--model alexnet --batch 128 --threads 2",
       "--model alexnet --batch 128 --threads 1 --set distributed.scheme=data        (under mpirun -n 2)",
       "--model alexnet --batch 128 --threads 1 --set distributed.scheme=one_weird_trick   (under mpirun -n 2)"});
  CommonFlags common;
  NetworkFlags network;
  int64_t batch = 128, steps = 10;
  std::string json;
  common.add_to(command_line);
  network.add_to(command_line);
  command_line.option("--batch", batch, "N", "Images of a step, of all ranks together (default 128)")
      .option("--steps", steps, "N", "Steps measured, after 3 to warm up (default 10)")
      .option("--json", json, "F", "Write the figures as JSON");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(batch > 0 && steps > 0, "--batch {} --steps {}: expected 1 or more of each", batch, steps);
  const NetworkSource source = network.resolve(common, NetworkFlags::Data::not_needed);
  const RunConfig& config = source.config;

  if (config.train.distributed.scheme != Scheme::none) job.connect();
  const Ranks all = job.ranks_on(config.device);

  const TimedNetwork timed = build_network(source);
  const int64_t classes = models::summarize(*timed.model, timed.input).layers.back().output.back();
  const int64_t own = part_of(batch, all.rank(), all.size()).size();
  const std::shared_ptr<nn::Module> model =
      several(all) && config.train.distributed.scheme == Scheme::one_weird_trick
          ? std::make_shared<models::OneWeirdTrick>(timed.model, all, config.train.distributed)
          : timed.model;
  Repeated repeated(random_batch(own, timed.input, classes, config), batch);

  int64_t taken = 0, sent_before = 0;
  std::vector<double> seconds;
  Until some(repeated, [&] {
    if (taken == kWarmUp) sent_before = all.device->bytes_sent();
    return taken < kWarmUp + steps;
  });
  TrainOptions options = config.train;
  options.seed = config.seed;
  options.batch_size = batch;
  options.max_steps = 0;
  timed_training(
      *model, some, options,
      [&](const StepTime& step) {
        if (++taken > kWarmUp) seconds.push_back(step.seconds);
      },
      all);
  const int64_t sent = (all.device->bytes_sent() - sent_before) / steps;
  if (!job.leads()) return kDone;

  const double step = median(seconds);
  fmt::print("{}, batch {}, scheme {}: {} of {} {}\n", config.model_name(), batch,
             to_string(config.train.distributed.scheme), job.ranks().description(), num_threads(),
             num_threads() == 1 ? "thread" : "threads");
  fmt::print("{:.1f} images/s, {:.1f} ms a step (median of {}), {} bytes sent a step by this rank\n",
             static_cast<double>(batch) / step, step * 1e3, steps, sent);
  if (json.empty()) return kDone;
  nlohmann::ordered_json document = {{"model", config.model_name()},
                                     {"batch", batch},
                                     {"scheme", to_string(config.train.distributed.scheme)},
                                     {"ranks", all.size()},
                                     {"threads", num_threads()},
                                     {"images_per_second", static_cast<double>(batch) / step},
                                     {"step_ms", step * 1e3},
                                     {"bytes_sent", sent}};
  for (const auto& [name, value] : provenance(config.device)) document["provenance"][name] = value;
  write_file_atomically(json, document.dump(2) + "\n");
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_job("ranks", [&](striate::Job& job) { return striate::bench::ranks(argc, argv, job); });
}
