#include "tools/per_image_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "engine/train/atomic_file.h"

namespace striate {

PerImageTable::PerImageTable(std::string file, int64_t classes)
    : file_(std::move(file)), text_("image,label,prediction") {
  for (int64_t c = 0; c < classes; ++c) text_ += fmt::format(",p{}", c);
  text_ += '\n';
}

void PerImageTable::add(const Batch& batch, const Tensor& logits) {
  const Tensor values = logits.to(Device::cpu);
  const int64_t n = values.dim(0), classes = values.dim(1);
  const int32_t* labels = std::as_const(batch.labels).data<int32_t>();
  std::vector<double> p(static_cast<size_t>(classes));
  for (int64_t i = 0; i < n; ++i) {
    const float* row = values.data<float>() + i * classes;
    const float* highest = std::max_element(row, row + classes);
    double sum = 0.0;
    for (int64_t c = 0; c < classes; ++c) sum += p[static_cast<size_t>(c)] = std::exp(double{row[c]} - *highest);
    const int64_t image = batch.places.empty() ? images_ : batch.places[static_cast<size_t>(i)];
    const std::string label = labels[i] < 0 ? "" : std::to_string(labels[i]);
    fmt::format_to(std::back_inserter(text_), "{},{},{}", image, label, highest - row);
    for (const double weight : p) fmt::format_to(std::back_inserter(text_), ",{:.6g}", weight / sum);
    text_ += '\n';
    ++images_;
  }
}

void PerImageTable::commit() { write_file_atomically(file_, text_); }

}  // namespace striate
