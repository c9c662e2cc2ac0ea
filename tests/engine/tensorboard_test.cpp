#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/train/event_file.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

// Event files are read back by a reader of its own that shares nothing with the writer: bitwise CRC, and protobuf's
// wire format by hand, with the field numbers of TensorFlow's event.proto and summary.proto.
namespace striate {
namespace {

uint32_t bitwise_crc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = (crc & 1u) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return crc ^ 0xffffffffu;
}

uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

struct Field {
  uint64_t number = 0;
  uint64_t varint = 0;  // or the bits of a fixed one
  std::string bytes;
};

std::vector<Field> decode(const std::string& message) {
  std::vector<Field> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(message.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const auto fixed = [&](size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, message.substr(at, size).c_str(), size);
    at += size;
    return value;
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field;
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.varint = varint();
        break;
      case 1:
        field.varint = fixed(8);
        break;
      case 5:
        field.varint = fixed(4);
        break;
      default: {
        const uint64_t length = varint();
        field.bytes = message.substr(at, length);
        at += length;
      }
    }
    fields.push_back(field);
  }
  return fields;
}

struct Event {
  double wall_time = 0.0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> scalars;
  bool session_start = false;
};

std::vector<Event> read_events(const std::string& path) {
  const std::string file = test::content(path);
  std::vector<Event> events;
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    uint32_t length_crc = 0, data_crc = 0;
    std::memcpy(&length, &file[at], 8);
    std::memcpy(&length_crc, &file[at + 8], 4);
    EXPECT_EQ(length_crc, masked(bitwise_crc32c(file.substr(at, 8))));
    const std::string data = file.substr(at + 12, length);
    std::memcpy(&data_crc, &file[at + 12 + length], 4);
    EXPECT_EQ(data_crc, masked(bitwise_crc32c(data)));
    at += 16 + length;

    Event event;
    for (const Field& field : decode(data)) {
      if (field.number == 1) event.wall_time = std::bit_cast<double>(field.varint);
      if (field.number == 2) event.step = static_cast<int64_t>(field.varint);
      if (field.number == 3) event.version = field.bytes;
      if (field.number == 7) event.session_start = decode(field.bytes).at(0).varint == 1;
      if (field.number != 5) continue;
      for (const Field& value : decode(field.bytes)) {
        EXPECT_EQ(value.number, 1u);
        std::string tag;
        float scalar = NAN;
        for (const Field& part : decode(value.bytes)) {
          if (part.number == 1) tag = part.bytes;
          if (part.number == 2) scalar = std::bit_cast<float>(static_cast<uint32_t>(part.varint));
        }
        event.scalars[tag] = scalar;
      }
    }
    events.push_back(event);
  }
  return events;
}

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

}  // namespace
}  // namespace striate
