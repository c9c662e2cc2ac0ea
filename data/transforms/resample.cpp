#include "data/transforms/resample.h"

#include <algorithm>
#include <cmath>

#include "data/transforms/pixel_passes.h"

namespace striate {
namespace {

/// Inputs [first, first + count) of one output.
struct Inputs {
  int first, count;
};

/// The triangle filter of Pillow's precompute_coeffs.
struct Triangle {
  double origin, scale, support;  // the triangle reaches 1 on either side, in units of the larger pixels
  int in;

  explicit Triangle(const ResizeSpan& span)
      : origin(span.origin), scale(span.length / span.out), support(std::max(scale, 1.0)), in(span.in) {}

  double centre(int output) const { return origin + (output + 0.5) * scale; }
  Inputs inputs(int output) const {
    const double middle = centre(output);
    const int first = std::max(static_cast<int>(middle - support + 0.5), 0);
    return {first, std::min(static_cast<int>(middle + support + 0.5), in) - first};
  }
};

bool stays(const ResizeSpan& span) { return span.length == span.out; }

/// Inputs of all outputs [begin, end).
Inputs inputs_of(const ResizeSpan& span) {
  if (stays(span)) return {span.begin, span.end - span.begin};
  const Triangle triangle(span);
  const Inputs last = triangle.inputs(span.end - 1);
  const int first = triangle.inputs(span.begin).first;
  return {first, last.first + last.count - first};
}

/// The weights of Pillow's precompute_coeffs and normalize_coeffs_8bpc.
void prepare_axis(const ResizeSpan& span, ResizeAxis& axis) {
  if (axis.span == span) return;
  axis.span = span;
  const Triangle triangle(span);
  const auto outputs = static_cast<size_t>(span.end - span.begin);
  axis.taps = static_cast<int>(std::ceil(triangle.support)) * 2 + 1;
  axis.first.resize(outputs);
  axis.count.resize(outputs);
  axis.weights.assign(outputs * axis.taps, 0);
  std::vector<double> exact(axis.taps);
  const int origin = inputs_of(span).first;
  for (size_t o = 0; o < outputs; ++o) {
    const int output = span.begin + static_cast<int>(o);
    const double centre = triangle.centre(output);
    const auto [first, count] = triangle.inputs(output);
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      exact[t] = std::max(1.0 - std::abs((t + first - centre + 0.5) * (1.0 / triangle.support)), 0.0);
      sum += exact[t];
    }
    for (int t = 0; t < count; ++t) {
      if (sum != 0.0) exact[t] /= sum;
      axis.weights[o * axis.taps + t] = static_cast<int>(0.5 + exact[t] * (1 << kWeightBits));
    }
    axis.first[o] = first - origin;
    axis.count[o] = count;
  }
}

ResizeSpan span_of(int first, int count, int out, int begin, int end, int reduction) {
  const int origin = first / reduction, limit = (first + count + reduction - 1) / reduction;
  return {static_cast<double>(first) / reduction - origin,
          static_cast<double>(count) / reduction,
          limit - origin,
          out,
          begin,
          end};
}

ResizeSpan rows_of(const Resampling& resampling, int reduction) {
  const auto& [source, height, width, kept] = resampling;
  return span_of(source.top, source.height, height, kept.top, kept.bottom(), reduction);
}

ResizeSpan columns_of(const Resampling& resampling, int reduction) {
  const auto& [source, height, width, kept] = resampling;
  return span_of(source.left, source.width, width, kept.left, kept.right(), reduction);
}

}  // namespace

Window inputs_of(const Resampling& resampling, int reduction) {
  const Inputs rows = inputs_of(rows_of(resampling, reduction));
  const Inputs columns = inputs_of(columns_of(resampling, reduction));
  return {resampling.source.top / reduction + rows.first, resampling.source.left / reduction + columns.first,
          rows.count, columns.count};
}

void resample(const Image& from, const Part& have, const Resampling& resampling, Image& to, TransformScratch& scratch) {
  const int k = have.reduction;
  const ResizeSpan rows = rows_of(resampling, k), columns = columns_of(resampling, k);
  const Window needed = inputs_of(resampling, k);
  const uint8_t* in = from.row(needed.top - have.window.top / k) +
                      static_cast<size_t>(needed.left - have.window.left / k) * static_cast<size_t>(from.channels);
  size_t stride = from.row_bytes();
  if (!stays(columns)) {
    prepare_axis(columns, scratch.horizontal);
    Image& out = stays(rows) ? to : scratch.intermediate;
    out.reshape(needed.height, resampling.kept.width, from.channels);
    resize_rows(in, stride, scratch.horizontal, out);
    in = out.pixels.data();
    stride = out.row_bytes();
  }
  if (!stays(rows)) {
    prepare_axis(rows, scratch.vertical);
    to.reshape(resampling.kept.height, resampling.kept.width, from.channels);
    resize_columns(in, stride, scratch.vertical, to);
  } else if (stays(columns)) {
    copy_window(in, stride, {0, 0, needed.height, needed.width}, from.channels, to);
  }
}

void resize_bilinear(const Image& from, int height, int width, Image& to, TransformScratch& scratch) {
  const Window whole{0, 0, from.height, from.width};
  resample(from, {whole}, {whole, height, width, {0, 0, height, width}}, to, scratch);
}

}  // namespace striate
