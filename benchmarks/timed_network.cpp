#include "benchmarks/timed_network.h"

#include <algorithm>
#include <chrono>

#include "engine/random.h"
#include "engine/train/evaluate.h"
#include "engine/train/trainer.h"
#include "models/registry.h"
#include "models/weights/weights.h"

namespace striate::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Tells `done` of every step of a trainer, up to the end of its work on the device.
class StepObserver : public TrainObserver {
 public:
  explicit StepObserver(const std::function<void(const StepTime&)>& done) : done_(done) {}
  void run_begins(const RunInfo& info) override { device_ = info.device; }
  void step_done(const StepRecord& step) override {
    const auto before = Clock::now();
    synchronize(device_);
    done_({step.seconds - step.data_seconds + seconds_since(before), step.data_seconds});
  }

 private:
  Device device_ = Device::cpu;
  const std::function<void(const StepTime&)>& done_;
};

/// A source that keeps the time its batches take.
class Clocked : public BatchSource {
 public:
  explicit Clocked(BatchSource& source) : source_(source) {}
  int64_t samples() const override { return source_.samples(); }
  int64_t batch_size() const override { return source_.batch_size(); }
  void start(int64_t epoch, int64_t first_batch) override { source_.start(epoch, first_batch); }
  bool next(Batch& batch) override {
    const auto before = Clock::now();
    const bool more = source_.next(batch);
    given = Clock::now();
    waited = std::chrono::duration<double>(given - before).count();
    return more;
  }

  Clock::time_point given;
  double waited = 0.0;

 private:
  BatchSource& source_;
};

}  // namespace

TimedNetwork build_network(const NetworkSource& source) {
  const RunConfig& config = source.config;
  set_num_threads(static_cast<int>(config.threads));
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(config.model, sizes.input);
  auto model = models::build_model(config.model, input, sizes.classes, config.seed);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), *model, input);
  model->to(config.device);
  return {input, std::move(model)};
}

Batch random_batch(int64_t images, const Shape& input, int64_t classes, const RunConfig& config) {
  Batch batch;
  batch.images = Tensor::empty({images, input[0], input[1], input[2]}, DType::float32, Device::cpu);
  batch.labels = Tensor::empty({images}, DType::int32, Device::cpu);
  Random random(0, RandomPurpose::augmentation, 0);
  float* pixels = batch.images.data<float>();
  constexpr int64_t kDrawn = int64_t{1} << 22;  // then over again: drawing a GPU's largest batches takes minutes
  const int64_t drawn = std::min(kDrawn, batch.images.size());
  for (int64_t i = 0; i < drawn; ++i) pixels[i] = static_cast<float>(random.normal());
  for (int64_t i = drawn; i < batch.images.size(); ++i) pixels[i] = pixels[i - drawn];
  for (int64_t i = 0; i < images; ++i) batch.labels.data<int32_t>()[i] = static_cast<int32_t>(i % classes);
  batch.images = batch.images.to(config.image_type());
  if (!on_host(config.device)) batch.images = batch.images.to(config.device);
  return batch;
}

bool Repeated::next(Batch& batch) {
  batch = batch_;
  batch.index = index_++;
  return true;
}

void timed_training(nn::Module& model, BatchSource& source, const TrainOptions& options,
                    const std::function<void(const StepTime&)>& done, const Ranks& ranks) {
  TrainOptions own = options;
  own.output.clear();
  own.epochs = 1;
  own.early_stop_patience = 0;
  own.handle_signals = false;
  StepObserver observer(done);
  Trainer trainer(model, {&source, nullptr, nullptr}, own, ranks);
  trainer.add_observer(observer);
  trainer.run();
}

void timed_inference(nn::Module& model, BatchSource& source, Device device,
                     const std::function<void(const StepTime&)>& done) {
  Clocked clocked(source);
  EvaluateOptions options;
  options.on_batch = [&](const Batch&, const Tensor&) {
    synchronize(device);
    done({seconds_since(clocked.given), clocked.waited});
  };
  infer(model, clocked, device, options);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n == 0 ? 0.0 : (values[(n - 1) / 2] + values[n / 2]) / 2.0;
}

}  // namespace striate::bench
