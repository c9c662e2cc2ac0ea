// The loss, forward and backward, and the softmax that predictions come from.
#include "benchmarks/kernels_measure.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate::bench {
namespace {

Lines<int32_t> labels_of(const SoftmaxCrossEntropyShape& s) {
  Lines<int32_t> labels(static_cast<size_t>(s.N));
  for (int64_t n = 0; n < s.N; ++n) labels[static_cast<size_t>(n)] = static_cast<int32_t>(n * 7 % s.classes);
  return labels;
}

template <typename T>
struct LossForward {
  using Shape = SoftmaxCrossEntropyShape;
  static constexpr const char *kOp = "softmax_cross_entropy", *kPass = "forward", *kMoved = "logits";
  static double bytes(const Shape& s) { return bytes_of<T>(s.N * s.classes); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> logits;
  Operand<int32_t> labels, rank;
  Operand<float> loss, sample_loss, row_max, log_sum;
  LossForward(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        logits(on, s.N * s.classes, 1),
        labels(on, labels_of(s)),
        rank(on, s.N),
        loss(on, 1),
        sample_loss(on, s.N),
        row_max(on, s.N),
        log_sum(on, s.N) {}
  void run() {
    choose(side, reference::softmax_cross_entropy_forward<T>, cpu::softmax_cross_entropy_forward<T>,
           cuda::softmax_cross_entropy_forward<T>)(logits, labels, loss, sample_loss, row_max, log_sum, rank, nullptr,
                                                   shape, context);
  }
  Results results() const { return results_of(loss, sample_loss, rank); }
};

template <typename T>
struct LossBackward {
  using Shape = SoftmaxCrossEntropyShape;
  static constexpr const char *kOp = "softmax_cross_entropy", *kPass = "backward", *kMoved = "logits + dlogits";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.N * s.classes); }
  LossForward<T> forward;
  Operand<float> dloss;
  Operand<T> dlogits;
  LossBackward(Side on, const Shape& s, Context& c)
      : forward(on, s, c), dloss(on, Floats{1.0f}), dlogits(on, s.N * s.classes) {
    forward.run();
  }
  void run() {
    choose(forward.side, reference::softmax_cross_entropy_backward<T>, cpu::softmax_cross_entropy_backward<T>,
           cuda::softmax_cross_entropy_backward<T>)(forward.logits, forward.labels, forward.row_max, forward.log_sum,
                                                    dloss, dlogits, forward.shape, forward.context);
  }
  Results results() const { return results_of(dlogits); }
};

template <typename T>
struct Softmax {
  using Shape = SoftmaxCrossEntropyShape;
  static constexpr const char *kOp = "softmax", *kPass = "forward", *kMoved = "logits + probabilities";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.N * s.classes); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> logits, probabilities;
  Softmax(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), logits(on, s.N * s.classes, 1), probabilities(on, s.N * s.classes) {}
  void run() {
    choose(side, reference::softmax_forward<T>, cpu::softmax_forward<T>, cuda::softmax_forward<T>)(
        logits, probabilities, shape.N, shape.classes, context);
  }
  Results results() const { return results_of(probabilities); }
};

}  // namespace

void add_losses(KernelList& list) {
  const std::pair<const char*, SoftmaxCrossEntropyShape> shapes[] = {{"tiny", {3, 10}},
                                                                     {"imagenet_batch_128", {128, 1000}}};
  for (const auto& [name, shape] : shapes) {
    add<LossForward, LossBackward>(list, name, shape);
    add<Softmax>(list, name, shape);
  }
}

}  // namespace striate::bench
