#include <gtest/gtest.h>

#include <fstream>

#include "engine/train/event_file.h"
#include "kernels/error.h"
#include "tests/engine/train_toy.h"
#include "tests/support/error.h"
#include "tests/support/event_reader.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::bitwise_crc32c;
using test::Event;
using test::read_events;

TEST(TensorBoard, ChecksumIsCrc32c) {
  EXPECT_EQ(bitwise_crc32c("123456789"), 0xe3069283u);  // the check value of the standard (RFC 3720)
}

TEST(TensorBoard, ReadsBackWhatARunWrote) {
  const test::TempDir dir;
  const auto network = test::toy_network();
  test::ToySource train(50, 16, 1), val(20, 16, 2), test_part(20, 16, 3);
  TrainOptions options;
  options.epochs = 2;
  options.handle_signals = false;
  EventFile file(dir / "run");
  EXPECT_NE(file.path().find("run/events.out.tfevents."), std::string::npos);
  test::CallbackObserver seen;
  Trainer trainer(*network, {&train, &val, &test_part}, options);
  trainer.add_observer(file);
  trainer.add_observer(seen);
  trainer.run();

  const std::vector<Event> events = read_events(file.path());
  ASSERT_EQ(events.size(), 1 + seen.steps.size() + seen.epochs.size());
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_GT(events[0].wall_time, 1.5e9);
  EXPECT_EQ(events[1].step, 0);  // before training
  EXPECT_EQ(events[1].scalars.count("train/epoch_loss"), 0u);
  EXPECT_EQ(events[1].scalars.at("val/loss"), static_cast<float>(seen.epochs[0].val_loss));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(events[2 + i].step, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(events[2 + i].scalars.at("train/loss"), static_cast<float>(seen.steps[i].loss));
    EXPECT_EQ(events[2 + i].scalars.at("train/learning_rate"), 0.01f);
  }
  EXPECT_EQ(events.back().step, 8);
  EXPECT_EQ(events.back().scalars.at("test/top1"), static_cast<float>(seen.epochs.back().test_top1));
  EXPECT_EQ(events.back().scalars.at("val/macro_f1"), static_cast<float>(seen.epochs.back().val_macro_f1));
}

TEST(TensorBoard, AResumedRunTellsWhereItGoesOn) {
  const test::TempDir dir;
  EventFile first(dir / "run"), second(dir / "run");
  EXPECT_NE(first.path(), second.path());
  EXPECT_LT(first.path(), second.path());  // read in order of their names
  RunInfo info;
  info.resumed = true;
  info.step = 41;
  second.run_begins(info);
  second.add_scalar("x", 300, -1.5);
  const std::vector<Event> events = read_events(second.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_TRUE(events[1].session_start);
  EXPECT_EQ(events[1].step, 42);
  EXPECT_EQ(events[2].step, 300);
  EXPECT_EQ(events[2].scalars.at("x"), -1.5f);
}

TEST(TensorBoard, DamagedFilesAreErrorsOfTheReader) {
  const test::TempDir dir;
  const std::string whole = test::event_record(std::string("\x10\x05", 2));
  const auto read = [&](const std::string& bytes) {
    std::ofstream(dir / "events", std::ios::binary) << bytes;
    return read_events(dir / "events");
  };
  ASSERT_EQ(read(whole).size(), 1u);
  EXPECT_EQ(read(whole)[0].step, 5);
  for (size_t length = 1; length < whole.size(); ++length) {
    EXPECT_TRUE(test::throws_with<IoError>([&] { read(whole.substr(0, length)); }, {"events, record 0", "claims"}));
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_TRUE(test::throws_with<IoError>([&] { read(damaged); }, {"wrong checksum"}));
  }
  EXPECT_TRUE(test::throws_with<IoError>([&] { read(test::event_record("\x2a\x7f")); }, {"127 bytes where 0 are"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { read(test::event_record("\x13")); }, {"wire type 3"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { read(test::event_record(std::string("\x10").append(10, '\xff'))); },
                                         {"more than ten bytes"}));
}

}  // namespace
}  // namespace striate
