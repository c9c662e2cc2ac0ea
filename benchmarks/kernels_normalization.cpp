// Batch and local response normalization, forward and backward.
#include "benchmarks/kernels_measure.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/local_response_norm/local_response_norm.h"

namespace striate::bench {
namespace {

template <typename T>
struct LrnForward {
  using Shape = LocalResponseNormShape;
  static constexpr const char *kOp = "local_response_norm", *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.rows * s.C); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  LrnForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.rows * s.C, 1), y(on, s.rows * s.C) {}
  void run() {
    choose(side, reference::local_response_norm_forward<T>, cpu::local_response_norm_forward<T>,
           cuda::local_response_norm_forward<T>)(x, y, shape, context);
  }
  Results results() const { return results_of(y); }
};

template <typename T>
struct LrnBackward {
  using Shape = LocalResponseNormShape;
  static constexpr const char *kOp = "local_response_norm", *kPass = "backward", *kMoved = "x + dy + dx";
  static double bytes(const Shape& s) { return bytes_of<T>(3 * s.rows * s.C); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, dy, dx;
  LrnBackward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.rows * s.C, 1), dy(on, s.rows * s.C, 2), dx(on, s.rows * s.C) {}
  void run() {
    choose(side, reference::local_response_norm_backward<T>, cpu::local_response_norm_backward<T>,
           cuda::local_response_norm_backward<T>)(x, dy, dx, shape, context);
  }
  Results results() const { return results_of(dx); }
};

template <typename T>
struct BatchNormForward {
  using Shape = BatchNormShape;
  static constexpr const char *kOp = "batch_norm", *kPass = "forward_train", *kMoved = "x twice + y";
  static double bytes(const Shape& s) { return bytes_of<T>(3 * s.size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  Operand<float> gamma, beta, mean, inv_std, running_mean, running_var;
  BatchNormForward(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        x(on, s.size(), 1),
        y(on, s.size()),
        gamma(on, s.C, 3),
        beta(on, s.C, 4),
        mean(on, s.C),
        inv_std(on, s.C),
        running_mean(on, s.C),
        running_var(on, Floats(static_cast<size_t>(s.C), 1.0f)) {}
  void run() {
    choose(side, reference::batch_norm_forward_train<T>, cpu::batch_norm_forward_train<T>,
           cuda::batch_norm_forward_train<T>)(x, gamma, beta, y, mean, inv_std, running_mean, running_var, shape,
                                              context);
  }
  Results results() const { return results_of(y, mean, inv_std, running_mean, running_var); }
};

template <typename T>
struct BatchNormEval {
  using Shape = BatchNormShape;
  static constexpr const char *kOp = "batch_norm", *kPass = "forward_eval", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.size()); }
  BatchNormForward<T> train;
  BatchNormEval(Side on, const Shape& s, Context& c) : train(on, s, c) {}
  void run() {
    choose(train.side, reference::batch_norm_forward_eval<T>, cpu::batch_norm_forward_eval<T>,
           cuda::batch_norm_forward_eval<T>)(train.x, train.gamma, train.beta, train.running_mean, train.running_var,
                                             train.y, train.inv_std, train.shape, train.context);
  }
  Results results() const { return results_of(train.y, train.inv_std); }
};

template <typename T>
struct BatchNormBackward {
  using Shape = BatchNormShape;
  static constexpr const char *kOp = "batch_norm", *kPass = "backward_train", *kMoved = "x and dy twice + dx";
  static double bytes(const Shape& s) { return bytes_of<T>(5 * s.size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, dy, dx;
  Operand<float> gamma, mean, inv_std, dgamma, dbeta;
  BatchNormBackward(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        x(on, s.size(), 1),
        dy(on, s.size(), 2),
        dx(on, s.size()),
        gamma(on, s.C, 3),
        mean(on, Floats(static_cast<size_t>(s.C), 0.01f)),
        inv_std(on, Floats(static_cast<size_t>(s.C), 1.7f)),
        dgamma(on, s.C),
        dbeta(on, s.C) {}
  void run() {
    choose(side, reference::batch_norm_backward<T>, cpu::batch_norm_backward<T>, cuda::batch_norm_backward<T>)(
        x, dy, gamma, mean, inv_std, dx, dgamma, dbeta, shape, true, Accumulate::no, context);
  }
  Results results() const { return results_of(dx, dgamma, dbeta); }
};

void add_batch_norm(KernelList& list, const std::string& name, const BatchNormShape& shape) {
  add<BatchNormForward, BatchNormBackward>(list, name, shape);
  add<BatchNormEval>(list, name, shape);
}

}  // namespace

void add_normalization(KernelList& list) {
  add<LrnForward, LrnBackward>(list, "tiny", {9, 24});
  add<LrnForward, LrnBackward>(list, "alexnet_paper_norm1", {128 * 55 * 55, 96});
  add<LrnForward, LrnBackward>(list, "alexnet_paper_norm2", {128 * 27 * 27, 256});
  add_batch_norm(list, "tiny", {37, 24});
  add_batch_norm(list, "resnet18_32_layer1", {128 * 32 * 32, 64});
  add_batch_norm(list, "resnet18_32_layer4", {128 * 4 * 4, 512});
  add_batch_norm(list, "resnet18_224_stem", {32 * 112 * 112, 64});
}

}  // namespace striate::bench
