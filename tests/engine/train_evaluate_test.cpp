#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/autograd.h"
#include "engine/config.h"
#include "engine/train/evaluate.h"
#include "engine/train/progress.h"
#include "engine/train/train_options.h"
#include "kernels/error.h"
#include "tests/engine/train_toy.h"
#include "tests/support/compare.h"

namespace striate {
namespace {

// Logits given, through the same op as in training.
Evaluation evaluate_logits(const std::vector<float>& logits, const std::vector<int32_t>& labels, int64_t classes) {
  const auto n = static_cast<int64_t>(labels.size());
  const Tensor x = Tensor::from(logits, {n, classes}), y = Tensor::from(labels, {n});
  const ops::CrossEntropy result = ops::softmax_cross_entropy(x, y);
  Metrics metrics(classes);
  metrics.add(x, y, result.sample_loss, result.rank);
  return metrics.result();
}

TEST(Metrics, ByHand) {
  // Predictions 0, 1, 1, 2 for labels 0, 0, 1, 1; class 2 is predicted once and never true, class 3 is neither.
  const Evaluation e = evaluate_logits({5, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0}, {0, 0, 1, 1}, 4);
  EXPECT_EQ(e.images, 4);
  EXPECT_EQ(e.top1, 0.5);
  EXPECT_EQ(e.top5, 1.0);
  const double sure = std::log(std::exp(5.0) + 3.0) - 5.0, wrong = std::log(std::exp(5.0) + 3.0);
  EXPECT_NEAR(e.loss, (sure + wrong) / 2, 1e-6);
  EXPECT_EQ(e.confusion, (std::vector<std::vector<int64_t>>{{1, 1, 0, 0}, {0, 1, 1, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}}));
  EXPECT_EQ(e.per_class[0], 0.5);
  EXPECT_EQ(e.per_class[1], 0.5);
  EXPECT_TRUE(std::isnan(e.per_class[2]));
  // F1: 2·1/(2 + 1), 2·1/(2 + 2), 0; class 3 does not count (scikit-learn's average="macro").
  EXPECT_NEAR(e.macro_f1, (2.0 / 3 + 0.5 + 0.0) / 3, 1e-12);
}

TEST(Metrics, EqualLogitsGoToTheLowerClassEverywhere) {
  const Evaluation e = evaluate_logits({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 6}, 7);
  EXPECT_EQ(e.top1, 0.5);
  EXPECT_EQ(e.top5, 0.5);
  EXPECT_EQ(e.confusion[6][0], 1);
  EXPECT_EQ(e.confusion[0][0], 1);
}

TEST(Metrics, ARowWithANanIsWrong) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // The second and third hold a NaN: in the place of the true class, and elsewhere beside the greatest logit.
  const Evaluation e = evaluate_logits({5, 0, nan, 0, nan, 5, 0, 5}, {0, 0, 1, 1}, 2);
  EXPECT_EQ(e.images, 4);
  EXPECT_EQ(e.top1, 0.5);
  EXPECT_EQ(e.top5, 0.5);
  EXPECT_EQ(e.per_class, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(e.confusion, (std::vector<std::vector<int64_t>>{{1, 0}, {0, 1}}));
  EXPECT_NEAR(e.macro_f1, 2.0 / 3, 1e-12);  // each class: one right, one missed, none false
  EXPECT_EQ(evaluate_logits({nan}, {0}, 1).top1, 0.0);
}

TEST(Evaluate, CountsEveryImageOnceAndChangesNothing) {
  const auto network = test::toy_network();
  test::ToySource source(50, 16, 1);
  network->train();
  const std::vector<float> before = test::all_weights(*network);
  int64_t last_done = 0, seen = 0;
  EvaluateOptions options;
  options.progress = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 50);
    EXPECT_GT(done, last_done);
    last_done = done;
    return true;
  };
  options.on_batch = [&](const Batch& batch, const Tensor& logits) {
    EXPECT_EQ(logits.shape(), (Shape{batch.labels.size(), 4}));
    EXPECT_FALSE(logits.requires_grad());
    seen += batch.labels.size();
  };
  const Evaluation e = evaluate(*network, source, Device::cpu, options);
  EXPECT_EQ(e.images, 50);
  EXPECT_EQ(seen, 50);
  EXPECT_EQ(last_done, 50);
  EXPECT_TRUE(network->training());
  EXPECT_TRUE(grad_enabled());
  EXPECT_EQ(test::all_weights(*network), before);  // batch norm's running statistics too

  // The mean over images, not over batches: with another batch size the same.
  test::ToySource other(50, 50, 1);
  const Evaluation whole = evaluate(*network, other, Device::cpu);
  EXPECT_NEAR(whole.loss, e.loss, 1e-6);
  EXPECT_EQ(whole.top1, e.top1);
  EXPECT_EQ(whole.confusion, e.confusion);

  options.progress = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(evaluate(*network, source, Device::cpu, options).images, 16);
  test::ToySource nothing(0, 16, 1);
  EXPECT_THROW(evaluate(*network, nothing, Device::cpu), Error);
}

TEST(Evaluate, GivesEveryModuleItsOwnModeBack) {
  const auto network = test::toy_network();
  test::ToySource source(16, 16, 1);
  network->train();
  nn::Module& frozen = *network->named_modules().back().module;
  frozen.eval();
  evaluate(*network, source, Device::cpu);
  EXPECT_TRUE(network->training());
  EXPECT_FALSE(frozen.training());
}

TEST(TrainOptions, ReadsEveryKey) {
  const TrainOptions o = TrainOptions::parse(ConfigReader::parse(
      "{epochs: 7, max_steps: 100, batch_size: 32, accumulate: 2, precision: tf32, recompute: true, learning_rate: "
      "0.1, "
      "optimizer: {name: adam}, schedule: {name: step, size: 3}, label_smoothing: 0.1, clip_grad_norm: 1.5, "
      "best_by: val_top1, early_stop_patience: 4, print_every: 5, save_every: 2, save_every_steps: 9}"));
  EXPECT_EQ(o.epochs, 7);
  EXPECT_EQ(o.max_steps, 100);
  EXPECT_EQ(o.batch_size, 32);
  EXPECT_EQ(o.accumulate, 2);
  EXPECT_EQ(o.precision, Precision::tf32);
  EXPECT_TRUE(o.recompute);
  EXPECT_EQ(o.learning_rate, 0.1);
  EXPECT_EQ(o.optimizer.name, "adam");
  EXPECT_EQ(o.schedule.size, 3);
  EXPECT_EQ(o.label_smoothing, 0.1);
  EXPECT_EQ(o.clip_grad_norm, 1.5);
  EXPECT_EQ(o.best_by, "val_top1");
  EXPECT_EQ(o.early_stop_patience, 4);
  EXPECT_EQ(o.print_every, 5);
  EXPECT_EQ(o.save_every, 2);
  EXPECT_EQ(o.save_every_steps, 9);
  const TrainOptions defaults = TrainOptions::parse(ConfigReader::parse(""));
  EXPECT_EQ(defaults.epochs, 10);
  EXPECT_EQ(defaults.batch_size, 128);
}

TEST(TrainOptions, RefusesNonsense) {
  for (const char* text : {"epoch: 3", "epochs: -1", "batch_size: 0", "accumulate: 0", "precision: half",
                           "precision: fp16", "label_smoothing: 1", "best_by: loss", "save_every: 0", "epochs: ten",
                           "optimizer: {lr: 0.1}", "learning_rate: -1"}) {
    EXPECT_THROW(TrainOptions::parse(ConfigReader::parse(text)), ConfigError) << text;
  }
}

std::string shown(Progress::Style style, size_t columns = 0) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* out = ::open_memstream(&text, &size);
  {
    Progress progress(2, out, style, columns);
    RunInfo info;
    info.epochs = 3;
    info.best_by = "val_loss";
    progress.run_begins(info);
    StepRecord step;
    step.epoch = 1;
    step.steps_per_epoch = 4;
    step.images = 32;
    step.seconds = 0.5;
    step.loss = 2.0;
    step.epoch_loss = 2.25;
    step.top1 = 0.125;
    step.epoch_top1 = 0.25;
    step.learning_rate = 0.01;
    step.memory_bytes = 64 << 20;
    for (int i = 1; i <= 4; ++i) {
      step.step = step.step_in_epoch = i;
      progress.step_done(step);
    }
    progress.evaluation_progress("val", 10, 10);
    EpochRecord epoch;
    epoch.epoch = 1;
    epoch.train_loss = 2.25;
    epoch.train_top1 = 0.25;
    epoch.val_loss = epoch.best_value = 1.5;
    epoch.val_top1 = 0.5;
    epoch.val_macro_f1 = 0.4;
    epoch.images_per_second = 64;
    epoch.seconds = 3;
    epoch.best_epoch = 1;
    epoch.is_best = true;
    progress.epoch_done(epoch);
    epoch.epoch = 2;
    epoch.is_best = false;
    progress.epoch_done(epoch);
  }
  std::fclose(out);
  const std::string result(text, size);
  std::free(text);
  return result;
}

TEST(Progress, PlainLines) {
  const std::string text = shown(Progress::Style::lines);
  EXPECT_NE(
      text.find("Train: [1/3][2/4] lr 0.01 time 0.500 (0.500) loss 2.0000 (2.2500) Acc@1 12.50 (25.00) Mem 64MB\n"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("[1/3][1/4]"), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_NE(text.find("Epoch 1/3: train loss 2.2500 top-1 25.00%; val loss 1.5000 top-1 50.00% macro-F1 0.400; 64 "
                      "images/s, 0:03; best so far\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("best val_loss 1.5000 in epoch 1\n"), std::string::npos) << text;
}

TEST(Progress, Bar) {
  const std::string text = shown(Progress::Style::bar);
  EXPECT_NE(text.find("\r\x1b[KEpoch 1/3"), std::string::npos) << text;
  EXPECT_NE(text.find("64 img/s, 0:00 left, loss 2.2500"), std::string::npos) << text;
  EXPECT_NE(text.find("Validating"), std::string::npos) << text;
}

TEST(Progress, TheBarKeepsRateAndTimeLeftInNarrowTerminals) {
  for (const size_t columns : {60, 80, 120}) {
    const std::string text = shown(Progress::Style::bar, columns);
    size_t lines = 0, begin = 0;
    for (; (begin = text.find("\r\x1b[KEpoch 1/3 [", begin)) != std::string::npos; ++begin) {
      const std::string line = text.substr(begin + 4, text.find_first_of("\r\n", begin + 4) - begin - 4);
      EXPECT_LT(line.size(), columns) << line;
      EXPECT_GE(line.find(']') - line.find('['), 11u) << line << ": a bar of ten cells at least";
      EXPECT_NE(line.find(" 64 img/s, 0:0"), std::string::npos) << line;
      EXPECT_NE(line.find(" left"), std::string::npos) << line;
      EXPECT_EQ(line.find(", loss 2.2500") != std::string::npos, columns >= 80) << line;
      EXPECT_EQ(line.find(", 64 MB") != std::string::npos, columns >= 120) << line;
      ++lines;
    }
    EXPECT_GE(lines, 2u) << text;
  }
}

}  // namespace
}  // namespace striate
