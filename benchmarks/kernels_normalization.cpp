// Normalization over channels and over the batch, and the loss: sums over what they then scale.
#include "benchmarks/kernels_memory.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate::bench {
namespace {

Context& context() { return machine().context; }

struct Lrn {
  using Shape = LocalResponseNormShape;
  static Shape part(Shape s) {
    s.rows = 101;
    return s;
  }
  Shape shape;
  Floats x, dy, y;
  explicit Lrn(const Shape& s) : shape(s), x(values(s.rows * s.C, 1)), dy(values(s.rows * s.C, 2)), y(s.rows * s.C) {}
};

struct LrnForward : Lrn {
  static constexpr const char* kName = "local_response_norm_forward";
  static constexpr const char* kMoved = "x + y";
  static double bytes(const Shape& s) { return floats(2 * s.rows * s.C); }
  using Lrn::Lrn;
  void run() { cpu::local_response_norm_forward(x.data(), y.data(), shape, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::local_response_norm_forward(x.data(), expected.data(), shape, context());
    return close(y, expected);
  }
};

struct LrnBackward : Lrn {
  static constexpr const char* kName = "local_response_norm_backward";
  static constexpr const char* kMoved = "x + dy + dx";
  static double bytes(const Shape& s) { return floats(3 * s.rows * s.C); }
  using Lrn::Lrn;
  void run() { cpu::local_response_norm_backward(x.data(), dy.data(), y.data(), shape, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::local_response_norm_backward(x.data(), dy.data(), expected.data(), shape, context());
    return close(y, expected);
  }
};

struct BatchNorm {
  using Shape = BatchNormShape;
  static Shape part(Shape s) {
    s.rows = 1009;
    return s;
  }
  Shape shape;
  Floats x, dy, y, gamma, beta, mean, inv_std, running_mean, running_var, dgamma, dbeta;
  explicit BatchNorm(const Shape& s)
      : shape(s),
        x(values(s.size(), 1)),
        dy(values(s.size(), 2)),
        y(s.size()),
        gamma(values(s.C, 3)),
        beta(values(s.C, 4)),
        mean(s.C, 0.01f),
        inv_std(s.C, 1.7f),
        running_mean(s.C, 0.0f),
        running_var(s.C, 1.0f),
        dgamma(s.C),
        dbeta(s.C) {}
};

struct BatchNormForward : BatchNorm {
  static constexpr const char* kName = "batch_norm_forward_train";
  static constexpr const char* kMoved = "x twice + y";
  static double bytes(const Shape& s) { return floats(3 * s.size()); }
  using BatchNorm::BatchNorm;
  void run() {
    cpu::batch_norm_forward_train(x.data(), gamma.data(), beta.data(), y.data(), mean.data(), inv_std.data(),
                                  running_mean.data(), running_var.data(), shape, context());
  }
  bool agrees() {
    Floats expected(y.size()), m(mean.size()), s(mean.size()), rm(mean.size(), 0.0f), rv(mean.size(), 1.0f);
    reference::batch_norm_forward_train(x.data(), gamma.data(), beta.data(), expected.data(), m.data(), s.data(),
                                        rm.data(), rv.data(), shape, context());
    return close(y, expected) && close(inv_std, s);
  }
};

struct BatchNormBackward : BatchNorm {
  static constexpr const char* kName = "batch_norm_backward_train";
  static constexpr const char* kMoved = "x and dy twice + dx";
  static double bytes(const Shape& s) { return floats(5 * s.size()); }
  using BatchNorm::BatchNorm;
  void run() {
    cpu::batch_norm_backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), y.data(), dgamma.data(),
                             dbeta.data(), shape, true, Accumulate::no, context());
  }
  bool agrees() {
    Floats expected(y.size()), dg(dgamma.size()), db(dbeta.size());
    reference::batch_norm_backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), expected.data(),
                                   dg.data(), db.data(), shape, true, Accumulate::no, context());
    return close(y, expected) && close(dgamma, dg) && close(dbeta, db);
  }
};

struct SoftmaxLoss {
  using Shape = SoftmaxCrossEntropyShape;
  static Shape part(Shape s) {
    s.N = 5;
    return s;
  }
  Shape shape;
  Floats x, loss, max, log_sum, dx;
  Lines<int32_t> labels, rank;
  float dloss = 1.0f;
  explicit SoftmaxLoss(const Shape& s)
      : shape(s),
        x(values(s.N * s.classes, 1)),
        loss(s.N),
        max(s.N),
        log_sum(s.N),
        dx(x.size()),
        labels(s.N),
        rank(s.N) {
    for (int64_t n = 0; n < s.N; ++n) labels[static_cast<size_t>(n)] = static_cast<int32_t>(n * 7 % s.classes);
    forward();
  }
  void forward() {
    cpu::softmax_cross_entropy_forward(x.data(), labels.data(), nullptr, loss.data(), max.data(), log_sum.data(),
                                       rank.data(), shape, context());
  }
};

struct SoftmaxLossForward : SoftmaxLoss {
  static constexpr const char* kName = "softmax_cross_entropy_forward";
  static constexpr const char* kMoved = "logits";
  static double bytes(const Shape& s) { return floats(s.N * s.classes); }
  using SoftmaxLoss::SoftmaxLoss;
  void run() { forward(); }
  bool agrees() {
    Floats expected(loss.size()), m(max.size()), l(max.size());
    Lines<int32_t> r(rank.size());
    reference::softmax_cross_entropy_forward(x.data(), labels.data(), static_cast<float*>(nullptr), expected.data(),
                                             m.data(), l.data(), r.data(), shape, context());
    return close(loss, expected) && rank == r;
  }
};

struct SoftmaxLossBackward : SoftmaxLoss {
  static constexpr const char* kName = "softmax_cross_entropy_backward";
  static constexpr const char* kMoved = "logits + dlogits";
  static double bytes(const Shape& s) { return floats(2 * s.N * s.classes); }
  using SoftmaxLoss::SoftmaxLoss;
  void run() {
    cpu::softmax_cross_entropy_backward(x.data(), labels.data(), max.data(), log_sum.data(), &dloss, dx.data(), shape,
                                        context());
  }
  bool agrees() {
    Floats expected(dx.size());
    reference::softmax_cross_entropy_backward(x.data(), labels.data(), max.data(), log_sum.data(), &dloss,
                                              expected.data(), shape, context());
    return close(dx, expected);
  }
};

}  // namespace

void add_normalization() {
  add_rows<LrnForward, LrnBackward>("alexnet_paper_norm1", {128 * 55 * 55, 96});
  add_rows<LrnForward, LrnBackward>("alexnet_paper_norm2", {128 * 27 * 27, 256});
  add_rows<BatchNormForward, BatchNormBackward>("resnet18_32_layer1", {128 * 32 * 32, 64});
  add_rows<BatchNormForward, BatchNormBackward>("resnet18_32_layer4", {128 * 4 * 4, 512});
  add_rows<BatchNormForward, BatchNormBackward>("resnet18_224_stem", {32 * 112 * 112, 64});
  add_rows<SoftmaxLossForward, SoftmaxLossBackward>("batch_128", {128, 1000});
}

}  // namespace striate::bench
