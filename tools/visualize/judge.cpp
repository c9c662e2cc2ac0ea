#include "tools/visualize/judge.h"

#include <algorithm>
#include <cmath>

#include "engine/ops/ops.h"
#include "engine/train/evaluate.h"
#include "engine/train/interrupt.h"
#include "tools/progress_line.h"

namespace striate::visualize {

Highest highest_of(const float* row, int64_t size) {
  Highest highest{0, double{row[0]}};
  for (int64_t c = 0; c < size; ++c) {
    if (std::isnan(row[c])) return {0, std::nan("")};
    if (row[c] > highest.value) highest = {static_cast<size_t>(c), double{row[c]}};
  }
  return highest;
}

std::optional<Judgements> judge_all(ImageSource& source, const std::string& doing) {
  Judgements judgements;
  int64_t done = 0;
  EvaluateOptions options;
  options.progress = progress_line(doing);
  options.on_batch = [&](const Batch& batch, const Tensor& logits) {
    const Tensor probabilities = ops::softmax(logits).to(Device::cpu);
    const int32_t* labels = batch.labels.data<int32_t>();
    for (int64_t i = 0; i < batch.labels.size(); ++i, ++done) {
      const float* row = probabilities.data<float>() + i * source.classes();
      const Highest guess = highest_of(row, source.classes());
      if (std::isnan(guess.value)) continue;
      const auto truth = static_cast<size_t>(labels[i]);
      const int64_t place = batch.places.empty() ? done : batch.places[static_cast<size_t>(i)];
      (guess.place == truth ? judgements.right : judgements.wrong)
          .push_back({place, truth, guess.place, guess.value, double{row[truth]}});
    }
  };
  judgements.evaluation = evaluate(source.model(), source.loader(), source.device(), options);
  if (InterruptGuard::requested()) return std::nullopt;
  std::stable_sort(judgements.wrong.begin(), judgements.wrong.end(),
                   [](const Judgement& a, const Judgement& b) { return a.probability > b.probability; });
  return judgements;
}

}  // namespace striate::visualize
