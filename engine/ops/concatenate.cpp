#include <cstddef>
#include <utility>

#include "engine/autograd.h"
#include "engine/copy.h"
#include "engine/ops/ops.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate::ops {

namespace {
void copy_rows(const Tensor& from, int64_t from_row, const Tensor& to, int64_t to_row, int64_t rows) {
  if (rows == 0) return;
  const size_t row = from.bytes() / static_cast<size_t>(from.dim(0));
  const auto* source = static_cast<const std::byte*>(std::as_const(*from.impl()->storage).data());
  auto* target = static_cast<std::byte*>(to.impl()->storage->data());
  copy_bytes(target + static_cast<size_t>(to_row) * row, to.device(), source + static_cast<size_t>(from_row) * row,
             from.device(), static_cast<size_t>(rows) * row);
}
}  // namespace

Tensor take_rows(const Tensor& x, int64_t begin, int64_t end) {
  require<ShapeError>(x.rank() > 0 && 0 <= begin && begin <= end && end <= x.dim(0), "rows {} to {} of {}", begin, end,
                      to_string(x.shape()));
  Shape shape = x.shape();
  shape[0] = end - begin;
  const Tensor y = Tensor::empty(std::move(shape), x.dtype(), x.device());
  copy_rows(x, begin, y, 0, end - begin);
  return y;
}

Tensor concatenate(const std::vector<Tensor>& parts) {
  require<ShapeError>(!parts.empty(), "concatenate: expected a tensor, found none");
  if (parts.size() == 1) return parts.front();
  Shape shape = parts.front().shape();
  shape.at(0) = 0;
  bool is_recorded = false;
  for (const Tensor& part : parts) {
    Shape of_part = part.shape();
    const int64_t part_rows = std::exchange(of_part.at(0), shape[0]);
    require<ShapeError>(
        of_part == shape && part.dtype() == parts.front().dtype() && part.device() == parts.front().device(),
        "concatenate: {} of {} beside {} of {}: only the number of rows may differ", to_string(part.shape()),
        to_string(part.dtype()), to_string(parts.front().shape()), to_string(parts.front().dtype()));
    shape[0] += part_rows;
    is_recorded = is_recorded || any_requires_grad({part});
  }
  Tensor y = Tensor::empty(shape, parts.front().dtype(), parts.front().device());
  std::vector<int64_t> ends;
  for (const Tensor& part : parts) {
    const int64_t begin = ends.empty() ? 0 : ends.back();
    copy_rows(part, 0, y, begin, part.dim(0));
    ends.push_back(begin + part.dim(0));
  }
  if (!is_recorded) return y;
  record("concatenate", y, parts, [ends](const Tensor& dy, Gradients& gradients) {
    for (size_t i = 0; i < ends.size(); ++i) {
      if (gradients.wants(i)) gradients.add(i, take_rows(dy, i == 0 ? 0 : ends[i - 1], ends[i]));
    }
  });
  return y;
}

}  // namespace striate::ops
