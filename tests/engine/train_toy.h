#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/random.h"
#include "engine/train/run_log.h"
#include "engine/train/trainer.h"
#include "engine/train/weights.h"

namespace striate::test {

/// 4×4 grey images of noise whose class is the row that is brighter than the others; shuffled anew every epoch.
class ToySource : public BatchSource {
 public:
  ToySource(int64_t samples, int64_t batch_size, uint64_t seed, bool shuffle = true)
      : samples_(samples), batch_size_(batch_size), seed_(seed), shuffle_(shuffle) {}

  static constexpr int64_t kClasses = 4;
  int64_t samples() const override { return samples_; }
  int64_t batch_size() const override { return batch_size_; }

  void start(int64_t epoch, int64_t first_batch = 0) override {
    order_.resize(static_cast<size_t>(samples_));
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<int64_t>(i);
    Random random(seed_, RandomPurpose::shuffle, static_cast<uint64_t>(epoch));
    if (shuffle_) {
      for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.below(i)]);
    }
    next_ = first_batch;
  }

  bool next(Batch& batch) override {
    const int64_t first = next_ * batch_size_;
    if (first >= samples_) return false;
    const int64_t count = std::min(batch_size_, samples_ - first);
    std::vector<float> images;
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t sample = order_[static_cast<size_t>(first + i)];
      const auto label = static_cast<int32_t>(sample % kClasses);
      Random random(seed_, RandomPurpose::test, static_cast<uint64_t>(sample));
      for (int p = 0; p < 16; ++p) images.push_back(random.uniform(-1.0f, 1.0f) + (p / 4 == label ? brightness : 0.0f));
      labels.push_back(label);
    }
    batch.images = Tensor::from(images, {count, 4, 4, 1});
    batch.labels = Tensor::from(labels, {count});
    batch.index = next_++;
    return true;
  }

  float brightness = 1.0f;

 private:
  int64_t samples_, batch_size_;
  uint64_t seed_;
  bool shuffle_;
  int64_t next_ = 0;
  std::vector<int64_t> order_;
};

/// Convolution, batch norm (buffers), dropout and a linear layer: everything that a resume has to bring back.
inline std::shared_ptr<nn::Sequential> toy_network(uint64_t seed = 1, float dropout = 0.25f) {
  auto network = std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{
      std::make_shared<nn::Conv2d>(1, 4, 3, 1, 1), std::make_shared<nn::BatchNorm2d>(4),
      std::make_shared<nn::ActivationLayer>(Activation::relu), std::make_shared<nn::Flatten>(),
      std::make_shared<nn::Dropout>(dropout), std::make_shared<nn::Linear>(64, ToySource::kClasses)});
  nn::initialize(*network, {}, seed);
  return network;
}

/// Three epochs, which leave the process's signals alone.
inline TrainOptions quick_options() {
  TrainOptions options;
  options.epochs = 3;
  options.learning_rate = 0.05;
  options.seed = 3;
  options.handle_signals = false;
  return options;
}

/// Calls what a test gives it.
class CallbackObserver : public TrainObserver {
 public:
  std::function<void(const StepRecord&)> on_step;
  std::function<void(const EpochRecord&)> on_epoch;
  std::function<void(int64_t)> on_checkpoint;
  std::function<void(const std::string&, int64_t)> on_evaluation;
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;

  void step_done(const StepRecord& step) override {
    steps.push_back(step);
    if (on_step) on_step(step);
  }
  void epoch_done(const EpochRecord& epoch) override {
    epochs.push_back(epoch);
    if (on_epoch) on_epoch(epoch);
  }
  void checkpoint_begins(int64_t step) override {
    if (on_checkpoint) on_checkpoint(step);
  }
  void evaluation_progress(const std::string& part, int64_t done, int64_t) override {
    if (on_evaluation) on_evaluation(part, done);
  }
};

inline std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  if (!text.empty() && text.back() == separator && separator != '\n') parts.push_back("");
  return parts;
}

/// metrics.csv without its time columns, the last two.
inline std::string untimed(const std::string& metrics) {
  std::string text;
  for (const std::string& line : split(metrics, '\n')) {
    std::vector<std::string> cells = split(line, ',');
    cells.resize(cells.size() - 2);
    for (const std::string& cell : cells) text += cell + ",";
    text += "\n";
  }
  return text;
}

inline std::vector<float> all_weights(const nn::Module& module) {
  std::vector<float> values;
  for (const NamedTensor& t : named_weights(module)) {
    const std::vector<float> some = t.tensor.to_vector<float>();
    values.insert(values.end(), some.begin(), some.end());
  }
  return values;
}

}  // namespace striate::test
