#include "engine/train/event_file.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <string_view>

#include "engine/crc32c.h"
#include "engine/train/append_file.h"
#include "kernels/error.h"
#include "tensorboard.pb.h"

namespace striate {

namespace {
// TFRecord masks its checksums, so that a checksum of data that holds checksums stays a good one.
uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

// uint64 length, uint32 checksum of the length, the data, uint32 checksum of the data.
std::string frame(const std::string& data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  return length + little_endian(masked_crc32c(length)) + data + little_endian(masked_crc32c(data));
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string free_name(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require<IoError>(!error, "{}: cannot be made: {}", folder, error.message());
  // TensorBoard reads a folder's files in order of their names.
  for (auto second = static_cast<int64_t>(wall_time());; ++second) {
    const auto path = std::filesystem::path(folder) / fmt::format("events.out.tfevents.{}.striate", second);
    if (!std::filesystem::exists(path)) return path.string();
  }
}
}  // namespace

struct EventFile::Writer {
  explicit Writer(const std::string& folder) : file(free_name(folder), AppendFile::Open::must_be_new) {}

  void write(tensorboard::Event& event) {
    event.set_wall_time(wall_time());
    file.append(frame(event.SerializeAsString()));
  }
  void write_scalars(int64_t step, std::initializer_list<std::pair<const char*, double>> scalars) {
    tensorboard::Event event;
    event.set_step(step);
    for (const auto& [tag, value] : scalars) {
      if (std::isnan(value)) continue;
      tensorboard::Summary::Value* entry = event.mutable_summary()->add_value();
      entry->set_tag(tag);
      entry->set_simple_value(static_cast<float>(value));
    }
    if (event.summary().value_size() > 0) write(event);
  }

  AppendFile file;
};

EventFile::EventFile(const std::string& folder) : writer_(std::make_unique<Writer>(folder)) {
  tensorboard::Event version;
  version.set_file_version("brain.Event:2");
  writer_->write(version);
}

EventFile::~EventFile() = default;

const std::string& EventFile::path() const { return writer_->file.path(); }

void EventFile::add_scalar(const std::string& tag, int64_t step, double value) {
  writer_->write_scalars(step, {{tag.c_str(), value}});
}

void EventFile::run_begins(const RunInfo& info) {
  if (!info.resumed) return;
  // TensorBoard then forgets what the stopped run wrote from that step on.
  tensorboard::Event start;
  start.set_step(info.step + 1);
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  writer_->write(start);
}

void EventFile::step_done(const StepRecord& step) {
  writer_->write_scalars(step.step, {{"train/loss", step.loss},
                                     {"train/learning_rate", step.learning_rate},
                                     {"train/gradient_norm", step.gradient_norm}});
}

void EventFile::epoch_done(const EpochRecord& e) {
  writer_->write_scalars(e.step, {{"train/epoch_loss", e.train_loss},
                                  {"train/top1", e.train_top1},
                                  {"val/loss", e.val_loss},
                                  {"val/top1", e.val_top1},
                                  {"val/top5", e.val_top5},
                                  {"val/macro_f1", e.val_macro_f1},
                                  {"test/loss", e.test_loss},
                                  {"test/top1", e.test_top1},
                                  {"images_per_second", e.images_per_second}});
}

void EventFile::checkpoint_begins(int64_t) { writer_->file.sync(); }
void EventFile::run_ends(const TrainResult&) { writer_->file.sync(); }

}  // namespace striate
