#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "engine/train/observer.h"

namespace striate {

/// Shows a run: on a terminal a bar with rate, time left and loss; elsewhere a line every `print_every` steps. After
/// each epoch a line with its losses and accuracies and the best so far.
class Progress : public TrainObserver {
 public:
  enum class Style { automatic, bar, lines };
  /// `columns` 0: as wide as the terminal, or 80 where there is none.
  explicit Progress(int64_t print_every = 50, std::FILE* out = stdout, Style style = Style::automatic,
                    size_t columns = 0);

  void run_begins(const RunInfo& info) override;
  void step_done(const StepRecord& step) override;
  void evaluation_progress(const std::string& part, int64_t done, int64_t total) override;
  void epoch_done(const EpochRecord& epoch) override;
  void run_ends(const TrainResult& result) override;
  void warning(const std::string& message) override;

 private:
  /// `right` stands in falling order of importance; what leaves no room for a bar is left out.
  void draw_bar(const std::string& left, double fraction, const std::vector<std::string>& right);
  void clear_bar();

  int64_t print_every_;
  std::FILE* out_;
  bool bar_;
  size_t columns_;
  bool bar_shown_ = false;
  double last_drawn_ = 0.0;
  RunInfo info_;
  double epoch_seconds_ = 0.0;
  int64_t epoch_images_ = 0, epoch_steps_ = 0;
};

}  // namespace striate
