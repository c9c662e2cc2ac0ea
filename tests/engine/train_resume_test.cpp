#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "tests/engine/train_toy.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::CallbackObserver;
using test::content;
using test::TempDir;
using test::toy_network;
using test::ToySource;

struct ResumeCase {
  const char* name;
  const char* optimizer;
  const char* schedule;
  int64_t accumulate;
  int64_t save_every_steps;

  friend void PrintTo(const ResumeCase& c, std::ostream* out) { *out << c.name; }
};

// 3 epochs over 54 images in batches of 8: 7 batches, so 7 steps an epoch, or 4 of two batches each.
TrainOptions options_of(const ResumeCase& c, const std::string& output) {
  TrainOptions options;
  options.epochs = 3;
  options.learning_rate = 0.02;
  options.accumulate = c.accumulate;
  options.optimizer.name = c.optimizer;
  options.schedule.name = c.schedule;
  options.schedule.patience = 0;
  options.schedule.factor = 0.5;
  options.schedule.warmup_epochs = 1.5;
  options.clip_grad_norm = 2.0;
  options.label_smoothing = 0.1;
  options.save_every_steps = c.save_every_steps;
  options.seed = 9;
  options.output = output;
  options.model_name = "toy";
  return options;
}

struct Outcome {
  std::string last, best, steps, metrics;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const fs::path& folder) {
  return {content(folder / "last.safetensors"), content(folder / "best.safetensors"), content(folder / "steps.csv"),
          test::untimed(content(folder / "metrics.csv"))};
}

struct Killed {};

// One process's part of a run: everything is made anew. A Killed from the observer ends it as a kill would.
TrainResult train(const TrainOptions& options, bool resume, CallbackObserver& seen) {
  const auto network = toy_network();
  ToySource train_part(54, 8, 1), val(20, 8, 2), test_part(20, 8, 3);
  // The validation gets hard to improve upon, so that the plateau schedule has something to do.
  val.brightness = 0.2f;
  RunLog log(options.output);
  Trainer trainer(*network, {&train_part, &val, &test_part}, options);
  trainer.add_observer(log);
  trainer.add_observer(seen);
  if (resume) trainer.resume();
  return trainer.run();
}

class TrainResume : public testing::TestWithParam<ResumeCase> {
 protected:
  void SetUp() override {
    CallbackObserver seen;
    train(options_of(GetParam(), never_stopped_dir / "run"), false, seen);
    never_stopped = outcome_of(never_stopped_dir / "run");
    total_steps = static_cast<int64_t>(seen.steps.size());
    ASSERT_EQ(total_steps, GetParam().accumulate == 1 ? 21 : 12);
  }
  void expect_same(const fs::path& folder, const std::string& what) {
    const Outcome now = outcome_of(folder);
    EXPECT_TRUE(now.last == never_stopped.last) << "last weights differ " << what;
    EXPECT_TRUE(now.best == never_stopped.best) << "best weights differ " << what;
    EXPECT_EQ(now.steps, never_stopped.steps) << what;
    EXPECT_EQ(now.metrics, never_stopped.metrics) << what;
  }
  TempDir never_stopped_dir;
  Outcome never_stopped;
  int64_t total_steps = 0;
};

TEST_P(TrainResume, AfterAnInterrupt) {
  const TempDir dir;
  int resumes = 0;
  for (const int64_t stop : {int64_t{1}, total_steps / 2, total_steps}) {
    const fs::path folder = dir / std::to_string(stop);
    const TrainOptions options = options_of(GetParam(), folder);
    CallbackObserver interrupting;
    interrupting.on_step = [&](const StepRecord& step) {
      if (step.step == stop) ::raise(SIGINT);
    };
    const TrainResult first = train(options, false, interrupting);
    EXPECT_EQ(first.status, TrainStatus::interrupted);
    EXPECT_EQ(first.steps, stop);  // finishes the step, no more
    EXPECT_EQ(interrupting.steps.size(), static_cast<size_t>(stop));
    CallbackObserver seen;
    const TrainResult second = train(options, true, seen);
    EXPECT_EQ(second.status, TrainStatus::finished);
    EXPECT_EQ(seen.steps.size(), static_cast<size_t>(total_steps - stop));
    expect_same(folder, "after an interrupt at step " + std::to_string(stop));
    ++resumes;
  }
  EXPECT_EQ(resumes, 3);
}

TEST_P(TrainResume, AfterAnInterruptWhileEvaluating) {
  // Evaluation 0 is that before training; 4 is the test part's at the end.
  for (const int at : {0, 2, 4}) {
    const TempDir dir;
    const TrainOptions options = options_of(GetParam(), dir / "run");
    CallbackObserver interrupting;
    int evaluations = 0;
    interrupting.on_evaluation = [&](const std::string&, int64_t done) {
      if (done == 8 && evaluations++ == at) ::raise(SIGTERM);
    };
    EXPECT_EQ(train(options, false, interrupting).status, TrainStatus::interrupted);
    EXPECT_EQ(evaluations, at + 1);
    CallbackObserver seen;
    EXPECT_EQ(train(options, true, seen).status, TrainStatus::finished);
    expect_same(dir / "run", "after an interrupt in evaluation " + std::to_string(at));
  }
}

TEST_P(TrainResume, AfterKillsAtAnyPlace) {
  const TempDir dir;
  const TrainOptions options = options_of(GetParam(), dir / "run");
  // The same run is killed again and again: at a step, before a checkpoint, while evaluating, after an epoch's record.
  int kills = 0;
  const auto run_and_die = [&](CallbackObserver& observer, bool resume) {
    try {
      train(options, resume, observer);
      ADD_FAILURE() << "was to be killed";
    } catch (const Killed&) {
      ++kills;
    }
  };
  CallbackObserver at_step, at_checkpoint, at_evaluation, at_epoch;
  at_step.on_step = [](const StepRecord& step) {
    if (step.step == 3) throw Killed();
  };
  run_and_die(at_step, false);
  at_checkpoint.on_checkpoint = [](int64_t step) {
    if (step >= 4) throw Killed();
  };
  run_and_die(at_checkpoint, true);
  at_evaluation.on_evaluation = [](const std::string&, int64_t done) {
    if (done == 16) throw Killed();
  };
  run_and_die(at_evaluation, true);
  at_epoch.on_epoch = [](const EpochRecord& epoch) {
    if (epoch.epoch == 2) throw Killed();
  };
  run_and_die(at_epoch, true);
  CallbackObserver at_last_record;
  at_last_record.on_epoch = [](const EpochRecord& epoch) {
    if (epoch.epoch == 3) throw Killed();
  };
  run_and_die(at_last_record, true);
  CallbackObserver seen;
  train(options, true, seen);
  EXPECT_EQ(kills, 5);
  expect_same(dir / "run", "after five kills");

  // A finished run has nothing left to do and keeps its files.
  CallbackObserver nothing;
  const TrainResult again = train(options, true, nothing);
  EXPECT_EQ(again.status, TrainStatus::finished);
  EXPECT_TRUE(nothing.steps.empty());
  EXPECT_EQ(again.last.epoch, 3);
  EXPECT_EQ(again.last.test_top1, seen.epochs.back().test_top1);
  expect_same(dir / "run", "after resuming a finished run");
}

INSTANTIATE_TEST_SUITE_P(, TrainResume,
                         testing::Values(ResumeCase{"sgd_cosine", "sgd", "cosine", 1, 0},
                                         ResumeCase{"adam_plateau_accumulate", "adam", "plateau", 2, 0},
                                         ResumeCase{"rmsprop_mid_epoch_saves", "rmsprop", "constant", 1, 3}),
                         [](const auto& c) { return std::string(c.param.name); });

// A real SIGKILL in a process of its own: what the kernel holds of the files is all that is left.
TEST(TrainResumeDeathTest, AfterSigkill) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // The child starts this test anew, and finds the parent's folder in its environment.
  constexpr const char* kFolder = "STRIATE_TEST_SIGKILL_FOLDER";
  const TempDir dir;
  ::setenv(kFolder, (dir / "run").c_str(), 0);
  const std::string folder = ::getenv(kFolder);
  const ResumeCase c{"", "sgd", "constant", 1, 3};
  EXPECT_EXIT(
      {
        CallbackObserver dying;
        dying.on_step = [](const StepRecord& step) {
          if (step.step == 11) ::raise(SIGKILL);
        };
        train(options_of(c, folder), false, dying);
      },
      testing::KilledBySignal(SIGKILL), "");
  ::unsetenv(kFolder);
  CallbackObserver seen, whole;
  train(options_of(c, folder), true, seen);
  EXPECT_EQ(seen.steps.front().step, 10);  // from the checkpoint of step 9
  train(options_of(c, dir / "whole"), false, whole);
  EXPECT_TRUE(outcome_of(folder) == outcome_of(dir / "whole"));
}

TEST(TrainResumeDeathTest, SecondInterruptEndsAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  EXPECT_EXIT(
      {
        CallbackObserver impatient;
        impatient.on_step = [](const StepRecord&) {
          ::raise(SIGINT);
          ::raise(SIGINT);
        };
        train(options_of({"", "sgd", "constant", 1, 0}, dir / "run"), false, impatient);
      },
      testing::ExitedWithCode(130), "finishing the step");
}

TEST(TrainResumeErrors, OtherOptionsAreNamed) {
  const TempDir dir;
  const ResumeCase c{"", "sgd", "constant", 1, 0};
  TrainOptions options = options_of(c, dir / "run");
  options.epochs = 1;
  CallbackObserver seen;
  train(options, false, seen);
  options.epochs = 2;  // longer is allowed, and goes on
  train(options, true, seen);
  EXPECT_EQ(seen.steps.size(), 14u);

  options.learning_rate = 0.5;
  options.label_smoothing = 0.0;
  try {
    train(options, true, seen);
    FAIL() << "was resumed";
  } catch (const ConfigError& e) {
    const std::string said = e.what();
    EXPECT_NE(said.find("train.learning_rate: 0.02 in the run, 0.5 now"), std::string::npos) << said;
    EXPECT_NE(said.find("train.label_smoothing: 0.1 in the run, 0 now"), std::string::npos) << said;
    EXPECT_EQ(said.find("epochs"), std::string::npos) << said;
  }
  EXPECT_THROW(train(options_of(c, dir / "absent"), true, seen), IoError);
}

TEST(TrainResumeErrors, PrecisionIsPartOfARunAndWasFp32BeforeItWasNamed) {
  TrainOptions options;
  const std::string fp32 = options.fixed_by_resume();
  options.precision = Precision::tf32;
  const std::string tf32 = options.fixed_by_resume(), line = "train.precision=fp32\n";
  EXPECT_EQ(differing_options(fp32, tf32), "\n  train.precision: fp32 in the run, tf32 now");
  std::string before = fp32;
  before.erase(before.find(line), line.size());
  EXPECT_EQ(differing_options(before, fp32), "");
  EXPECT_EQ(differing_options(before, tf32), "\n  train.precision: fp32 in the run, tf32 now");
}

TEST(TrainResumeErrors, ACosineRunIsNotMadeLonger) {
  const TempDir dir;
  TrainOptions options = options_of({"", "sgd", "cosine", 1, 0}, dir / "run");
  options.epochs = 1;
  options.schedule.warmup_epochs = 0;
  options.fixed = "model.dropout=0.5\n";
  CallbackObserver seen;
  train(options, false, seen);
  options.epochs = 2;
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { train(options, true, seen); },
                                             {"train.epochs: 1 in the run, 2 now", "cosine", "--init"}));
  options.epochs = 1;
  options.fixed = "model.dropout=0.2\n";
  EXPECT_TRUE(
      test::throws_with<ConfigError>([&] { train(options, true, seen); }, {"model.dropout: 0.5 in the run, 0.2 now"}));
}

// A run cut short by max_steps goes on as if it had been allowed more from the start.
TEST(TrainResumeErrors, MaxStepsCanBeRaised) {
  for (const int64_t save_every_steps : {0, 3}) {
    for (const int64_t stop : {4, 9, 17}) {  // before the first whole epoch, and within the later ones
      SCOPED_TRACE(std::to_string(stop) + " steps, saved every " + std::to_string(save_every_steps));
      const TempDir dir;
      const ResumeCase c{"", "sgd", "constant", 1, save_every_steps};
      TrainOptions options = options_of(c, dir / "run");
      options.max_steps = stop;
      CallbackObserver seen;
      EXPECT_EQ(train(options, false, seen).steps, stop);
      EXPECT_TRUE(fs::exists(dir / "run" / "best.safetensors"));
      // Stopped in the same place once more, it has nothing to add.
      const std::string best = content(dir / "run" / "best.safetensors");
      EXPECT_EQ(train(options, true, seen).steps, stop);
      EXPECT_TRUE(content(dir / "run" / "best.safetensors") == best);
      options.max_steps = 0;
      train(options, true, seen);
      train(options_of(c, dir / "whole"), false, seen);
      const Outcome resumed = outcome_of(dir / "run"), whole = outcome_of(dir / "whole");
      EXPECT_TRUE(resumed.last == whole.last);
      EXPECT_TRUE(resumed.best == whole.best);
      EXPECT_EQ(resumed.steps, whole.steps);
      EXPECT_EQ(resumed.metrics, whole.metrics);
    }
  }
}

// What an unfinished epoch measures, however good, leaves the best of the whole ones.
TEST(TrainResumeErrors, AnUnfinishedEpochIsNotTheBest) {
  const TempDir dir;
  TrainOptions options = options_of({"", "sgd", "constant", 1, 0}, dir / "one");
  options.learning_rate = 0.005;
  options.epochs = 1;
  CallbackObserver whole;
  train(options, false, whole);
  options.epochs = 3;
  int better = 0;
  for (int64_t steps = 8; steps < 14; ++steps) {
    options.output = dir / std::to_string(steps);
    options.max_steps = steps;
    CallbackObserver cut;
    train(options, false, cut);
    better += cut.epochs.back().val_loss < whole.epochs.back().val_loss;
    EXPECT_TRUE(content(fs::path(options.output) / "best.safetensors") == content(dir / "one" / "best.safetensors"))
        << steps << " steps";
  }
  EXPECT_GT(better, 0);
}

}  // namespace
}  // namespace striate
