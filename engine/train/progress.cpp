#include "engine/train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace striate {

namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// "1:02:03", "4:05".
std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::lround(std::max(0.0, seconds)));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

// What cannot be written is lost: a reader that went away, as tee does on Ctrl-C, must not end the run.
template <typename... Values>
void print(std::FILE* out, fmt::format_string<Values...> format, Values&&... values) {
  std::fputs(fmt::format(format, std::forward<Values>(values)...).c_str(), out);
}

size_t terminal_columns(std::FILE* out) {
  winsize size{};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string percent(double fraction) { return fmt::format("{:.2f}%", 100.0 * fraction); }
}  // namespace

Progress::Progress(int64_t print_every, std::FILE* out, Style style, size_t columns)
    : print_every_(std::max<int64_t>(1, print_every)),
      out_(out),
      bar_(style == Style::bar || (style == Style::automatic && ::isatty(::fileno(out)) == 1)),
      columns_(columns) {}

void Progress::run_begins(const RunInfo& info) {
  info_ = info;
  print(out_, "{} parameters on {}; images: {} to train, {} to validate{}\n", info.parameters, to_string(info.device),
        info.train_images, info.val_images, info.test_images > 0 ? fmt::format(", {} to test", info.test_images) : "");
  if (info.resumed) print(out_, "Resumed after step {}\n", info.step);
  std::fflush(out_);
}

void Progress::step_done(const StepRecord& s) {
  epoch_seconds_ += s.seconds;
  epoch_images_ += s.images;
  ++epoch_steps_;
  const auto megabytes = static_cast<double>(s.memory_bytes) / (1024.0 * 1024.0);
  if (!bar_) {
    if (s.step_in_epoch % print_every_ != 0 && s.step_in_epoch != s.steps_per_epoch) return;
    print(out_,
          "Train: [{}/{}][{}/{}] lr {:.6g} time {:.3f} ({:.3f}) loss {:.4f} ({:.4f}) Acc@1 {:.2f} ({:.2f}) Mem "
          "{:.0f}MB\n",
          s.epoch, info_.epochs, s.step_in_epoch, s.steps_per_epoch, s.learning_rate, s.seconds,
          epoch_seconds_ / static_cast<double>(epoch_steps_), s.loss, s.epoch_loss, 100.0 * s.top1,
          100.0 * s.epoch_top1, megabytes);
    std::fflush(out_);
    return;
  }
  const double left =
      epoch_seconds_ / static_cast<double>(epoch_steps_) * static_cast<double>(s.steps_per_epoch - s.step_in_epoch);
  draw_bar(fmt::format("Epoch {}/{}", s.epoch, info_.epochs),
           static_cast<double>(s.step_in_epoch) / static_cast<double>(s.steps_per_epoch),
           {fmt::format("{:.0f} img/s", static_cast<double>(epoch_images_) / epoch_seconds_),
            fmt::format("{} left", clock_text(left)), fmt::format("loss {:.4f}", s.epoch_loss),
            fmt::format("top-1 {:.1f}%", 100.0 * s.epoch_top1), fmt::format("{:.0f} MB", megabytes)});
}

void Progress::evaluation_progress(const std::string& part, int64_t done, int64_t total) {
  if (!bar_) return;
  draw_bar(part == "val" ? "Validating" : "Testing", static_cast<double>(done) / static_cast<double>(total),
           {fmt::format("{}/{} images", done, total)});
}

void Progress::epoch_done(const EpochRecord& e) {
  clear_bar();
  std::string line = e.epoch == 0 ? "Before training:" : fmt::format("Epoch {}/{}:", e.epoch, info_.epochs);
  if (e.epoch > 0) line += fmt::format(" train loss {:.4f} top-1 {};", e.train_loss, percent(e.train_top1));
  if (!std::isnan(e.val_loss)) {
    line += fmt::format(" val loss {:.4f} top-1 {} macro-F1 {:.3f};", e.val_loss, percent(e.val_top1), e.val_macro_f1);
  }
  if (e.epoch > 0) line += fmt::format(" {:.0f} images/s, {};", e.images_per_second, clock_text(e.seconds));
  if (e.best_epoch > 0 && !std::isnan(e.best_value)) {
    const std::string value = info_.best_by == "val_top1" ? percent(e.best_value) : fmt::format("{:.4f}", e.best_value);
    line += e.is_best ? " best so far" : fmt::format(" best {} {} in epoch {}", info_.best_by, value, e.best_epoch);
  } else {
    line.pop_back();
  }
  print(out_, "{}\n", line);
  if (!std::isnan(e.test_loss)) {
    print(out_, "Test, with the best weights (epoch {}): loss {:.4f} top-1 {}\n", e.best_epoch, e.test_loss,
          percent(e.test_top1));
  }
  std::fflush(out_);
  epoch_seconds_ = 0.0;
  epoch_images_ = epoch_steps_ = 0;
}

void Progress::run_ends(const TrainResult& result) {
  clear_bar();
  const char* how = result.status == TrainStatus::interrupted     ? "Interrupted and saved"
                    : result.status == TrainStatus::early_stopped ? "Stopped early: no new best for long enough"
                                                                  : "Finished";
  print(out_, "{} after step {}\n", how, result.steps);
  std::fflush(out_);
}

void Progress::warning(const std::string& message) {
  clear_bar();
  print(out_, "Warning: {}\n", message);
  std::fflush(out_);
}

void Progress::draw_bar(const std::string& left, double fraction, const std::vector<std::string>& right) {
  constexpr double kRedraw = 0.1;  // seconds: more often only costs time
  constexpr size_t kShortest = 10, kLongest = 40;
  const double time = now();
  if (fraction < 1.0 && time - last_drawn_ < kRedraw) return;
  last_drawn_ = time;
  const size_t columns = columns_ > 0 ? columns_ : terminal_columns(out_);
  size_t used = left.size() + 9;  // " [", "] 100%" and the last column, which may wrap
  std::string text;
  for (const std::string& part : right) {
    const std::string more = (text.empty() ? " " : ", ") + part;
    if (used + more.size() + kShortest > columns) break;
    text += more;
    used += more.size();
  }
  const size_t width = columns > used ? std::min(columns - used, kLongest) : 0;
  const auto filled = static_cast<size_t>(fraction * static_cast<double>(width));
  std::string line = fmt::format("{} [{}{}] {:3.0f}%{}", left, std::string(filled, '='),
                                 std::string(width - filled, ' '), 100.0 * fraction, text);
  if (line.size() >= columns) line.resize(columns - 1);
  print(out_, "\r\x1b[K{}", line);
  std::fflush(out_);
  bar_shown_ = true;
}

void Progress::clear_bar() {
  if (!bar_shown_) return;
  print(out_, "\r\x1b[K");
  bar_shown_ = false;
}

}  // namespace striate
