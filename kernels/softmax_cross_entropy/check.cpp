#include "kernels/softmax_cross_entropy/check.h"

#include "kernels/error.h"

namespace striate {

void SoftmaxCrossEntropyShape::check() const {
  require<ShapeError>(N >= 0 && classes > 0,
                      "softmax_cross_entropy logits [{},{}]: every size must be positive (the batch may be 0)", N,
                      classes);
  require<ShapeError>(smoothing >= 0.0f && smoothing < 1.0f,
                      "softmax_cross_entropy: label smoothing must lie in [0, 1), found {}", smoothing);
}

void check_labels(const int32_t* labels, const SoftmaxCrossEntropyShape& shape) {
  for (int64_t n = 0; n < shape.N; ++n) {
    require<ShapeError>(labels[n] >= 0 && labels[n] < shape.classes,
                        "softmax_cross_entropy: sample {} of the batch has label {}, but the logits have {} classes "
                        "(labels 0 to {}); set model.num_classes to fit the data",
                        n, labels[n], shape.classes, shape.classes - 1);
  }
}

}  // namespace striate
