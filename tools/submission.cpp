#include "tools/submission.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "engine/train/atomic_file.h"
#include "engine/train/evaluate.h"
#include "tools/experiment.h"

namespace striate {

void Submission::add(const Batch& batch, const Tensor& logits) {
  const Tensor values = logits.to(Device::cpu);
  const int64_t n = values.dim(0), classes = values.dim(1);
  for (int64_t i = 0; i < n; ++i, ++images_) {
    const float* row = values.data<float>() + i * classes;
    const int64_t image = batch.places.empty() ? images_ : batch.places[static_cast<size_t>(i)];
    fmt::format_to(std::back_inserter(text_), "{},{}\n", image + 1, std::max_element(row, row + classes) - row);
  }
}

void Submission::commit() { write_file_atomically(file_, text_); }

void write_submission(Experiment& experiment, Device device, const std::string& file) {
  Submission submission(file);
  EvaluateOptions options;
  options.on_batch = [&](const Batch& batch, const Tensor& logits) { submission.add(batch, logits); };
  infer(experiment.model(), experiment.part("test"), device, options);
  submission.commit();
}

}  // namespace striate
