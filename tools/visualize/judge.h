#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/train/metrics.h"
#include "tools/visualize/image_source.h"

namespace striate::visualize {

/// A row's largest value; NaN where one of them is.
struct Highest {
  size_t place = 0;
  double value = 0.0;
};
Highest highest_of(const float* row, int64_t size);

/// What the network took a labelled picture for.
struct Judgement {
  int64_t place = 0;  ///< of the picture among the last loader's
  size_t truth = 0, predicted = 0;
  double probability = 0.0, of_truth = 0.0;  ///< of the predicted and of the true class
};

/// Of all pictures of a source. One with a NaN among its logits is in neither list.
struct Judgements {
  Evaluation evaluation;
  std::vector<Judgement> wrong;  ///< the surest first
  std::vector<Judgement> right;  ///< in order
};

/// Shows the network every picture; `doing` stands in the line of progress. Nothing where Ctrl-C was pressed under an
/// InterruptGuard. The source must be labelled().
std::optional<Judgements> judge_all(ImageSource& source, const std::string& doing);

}  // namespace striate::visualize
