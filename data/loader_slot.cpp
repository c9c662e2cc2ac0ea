#include "data/loader_slot.h"

#include <cstring>
#include <utility>

namespace striate {

void LoaderSlot::begin(int64_t batch_index, const Range& part_rows, bool wants_halo, const Tensor& into_images,
                       const Tensor& into_labels) {
  batch = batch_index;
  part = part_rows;
  rows = part.size() + (wants_halo ? 1 : 0);
  loaded = 0;
  is_finished = false;
  kept.reset();
  images = into_images;
  labels = into_labels;
  pixels = images.defined() ? images.data<float>() : nullptr;
  classes = labels.data<int32_t>();
  broken.assign(static_cast<size_t>(rows), 0);
  messages.clear();
  error = nullptr;
}

float* LoaderSlot::pixels_of(int64_t row, int64_t values) {
  if (!is_halo(row)) return pixels + row * values;
  halo_pixels.resize(static_cast<size_t>(values));
  return halo_pixels.data();
}

void LoaderSlot::mark_broken(int64_t row, const char* message) {
  broken[static_cast<size_t>(row)] = 1;
  messages.resize(static_cast<size_t>(rows));
  messages[static_cast<size_t>(row)] = message;
}

void LoaderSlot::keep_error(int64_t row, std::exception_ptr what) {
  if (error != nullptr && row >= error_row) return;
  error = std::move(what);
  error_row = row;
}

void LoaderSlot::close_ranks() {
  if (kept) return;
  if (messages.empty()) {
    kept = part.size();
    return;
  }
  const int64_t values = images.defined() ? images.size() / images.dim(0) : 0;
  int64_t to = 0;
  for (int64_t row = 0; row < rows; ++row) {
    if (broken[static_cast<size_t>(row)] != 0) continue;
    if (to != row && pinned != nullptr) pinned->move(row, to);
    if (is_halo(row)) break;
    if (to != row) {
      if (pinned == nullptr) {
        std::memcpy(pixels + to * values, pixels + row * values, static_cast<size_t>(values) * sizeof(float));
      }
      classes[to] = classes[row];
    }
    ++to;
  }
  kept = to;
}

template <typename T>
Tensor LoaderSlot::first_kept(const Tensor& all) const {
  if (*kept == part.size()) return all;
  Shape shape = all.shape();
  shape[0] = *kept;
  Tensor first = Tensor::empty(std::move(shape), all.dtype());
  std::memcpy(first.data<T>(), all.data<T>(), first.bytes());
  return first;
}

template Tensor LoaderSlot::first_kept<float>(const Tensor&) const;
template Tensor LoaderSlot::first_kept<int32_t>(const Tensor&) const;

}  // namespace striate
