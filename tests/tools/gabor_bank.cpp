#include "tests/tools/gabor_bank.h"

#include <cmath>
#include <numbers>

namespace striate::test {

Tensor gabor_weights(const std::vector<Gabor>& filters, int64_t size, int64_t channels) {
  Tensor weights = Tensor::zeros({static_cast<int64_t>(filters.size()), size, size, channels});
  float* out = weights.data<float>();
  const double middle = static_cast<double>(size - 1) / 2.0;
  for (const Gabor& filter : filters) {
    const double theta = filter.orientation_deg * std::numbers::pi / 180.0;
    std::vector<double> values, envelope;
    double sum = 0.0, envelope_sum = 0.0;
    for (int64_t row = 0; row < size; ++row) {
      for (int64_t column = 0; column < size; ++column) {
        const double x = static_cast<double>(column) - middle, y = middle - static_cast<double>(row);
        const double along = x * std::cos(theta) + y * std::sin(theta);
        const double gauss = std::exp(-(x * x + y * y) / (2.0 * filter.sigma * filter.sigma));
        const double wave =
            filter.blob ? 1.0 : std::cos(2.0 * std::numbers::pi * filter.cycles_per_pixel * along + filter.phase_rad);
        values.push_back(filter.amplitude * gauss * wave);
        envelope.push_back(gauss);
        sum += values.back();
        envelope_sum += gauss;
      }
    }
    // What makes it blind to an even field is taken off: from a blob evenly, else within the envelope.
    for (size_t i = 0; i < values.size(); ++i) {
      const double share = filter.blob ? 1.0 / static_cast<double>(values.size()) : envelope[i] / envelope_sum;
      for (int64_t c = 0; c < channels; ++c) *out++ = static_cast<float>(values[i] - sum * share);
    }
  }
  return weights;
}

}  // namespace striate::test
