#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "engine/train/observer.h"

namespace striate {

/// Shows a run: on a terminal a bar with rate, time left and loss; elsewhere a line every `print_every` steps. After
/// each epoch a line with its losses and accuracies and the best so far.
class Progress : public TrainObserver {
 public:
  enum class Style { automatic, bar, lines };
  explicit Progress(int64_t print_every = 50, std::FILE* out = stdout, Style style = Style::automatic);

  void run_begins(const RunInfo& info) override;
  void step_done(const StepRecord& step) override;
  void evaluation_progress(const std::string& part, int64_t done, int64_t total) override;
  void epoch_done(const EpochRecord& epoch) override;
  void run_ends(const TrainResult& result) override;
  void warning(const std::string& message) override;

 private:
  void draw_bar(const std::string& left, double fraction, const std::string& right);
  void clear_bar();

  int64_t print_every_;
  std::FILE* out_;
  bool bar_;
  bool bar_shown_ = false;
  double last_drawn_ = 0.0;
  RunInfo info_;
  double epoch_seconds_ = 0.0;
  int64_t epoch_images_ = 0, epoch_steps_ = 0;
};

}  // namespace striate
