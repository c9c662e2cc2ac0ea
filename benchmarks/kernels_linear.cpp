// Linear layers, forward and both backwards, and on the CPU the optimizer's update inside the backward.
#include "benchmarks/kernels_measure.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"

namespace striate::bench {
namespace {

std::string library_of() { return cublas::missing().empty() ? "cublas" : ""; }

template <typename T>
struct LinearForward {
  using Shape = LinearShape;
  static constexpr const char *kOp = "linear", *kPass = "forward", *kMoved = "x + w + y";
  static double bytes(const Shape& s) { return bytes_of<T>(s.N * s.C + s.K * s.C + s.N * s.K); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision) { return library_of(); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, w;
  Operand<float> b;
  Operand<T> y;
  LinearForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.N * s.C, 1), w(on, s.K * s.C, 2), b(on, s.K, 3), y(on, s.N * s.K) {}
  void prepare_check() { x.fill(1, true), w.fill(2, true), b.fill(3, true); }
  void run() {
    choose(side, reference::linear_forward<T>, cpu::linear_forward<T>, cuda::linear_forward<T>,
           cublas::linear_forward<T>)(x, w, b, y, shape, Activation::relu, context);
  }
  Results results() const { return results_of(y); }
};

template <typename T>
struct LinearBackwardData {
  using Shape = LinearShape;
  static constexpr const char *kOp = "linear", *kPass = "backward_data", *kMoved = "dy + w + dx";
  static double bytes(const Shape& s) { return LinearForward<T>::bytes(s); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision) { return library_of(); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> dy, w, dx;
  LinearBackwardData(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), dy(on, s.N * s.K, 1), w(on, s.K * s.C, 2), dx(on, s.N * s.C) {}
  void prepare_check() { dy.fill(1, true), w.fill(2, true); }
  void run() {
    choose(side, reference::linear_backward_data<T>, cpu::linear_backward_data<T>, cuda::linear_backward_data<T>,
           cublas::linear_backward_data<T>)(dy, w, dx, shape, context);
  }
  Results results() const { return results_of(dx); }
};

template <typename T>
struct LinearBackwardWeight {
  using Shape = LinearShape;
  static constexpr const char *kOp = "linear", *kPass = "backward_weight", *kMoved = "x + dy + dw";
  static double bytes(const Shape& s) { return bytes_of<T>(s.N * (s.C + s.K)) + bytes_of<float>(s.K * s.C); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision) { return library_of(); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, dy;
  Operand<float> dw, db;
  LinearBackwardWeight(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.N * s.C, 1), dy(on, s.N * s.K, 2), dw(on, s.K * s.C), db(on, s.K) {}
  void prepare_check() { x.fill(1, true), dy.fill(2, true, shape.K); }
  void run() {
    choose(side, reference::linear_backward_weight<T>, cpu::linear_backward_weight<T>, cuda::linear_backward_weight<T>,
           cublas::linear_backward_weight<T>)(x, dy, dw, db, shape, Accumulate::no, context);
  }
  Results results() const { return results_of(dw, db); }
};

/// dx, and the weights moved with momentum by a gradient that is not kept.
template <typename T>
struct LinearUpdate {
  using Shape = LinearShape;
  static constexpr bool kCpuOnly = true;
  static constexpr const char *kOp = "linear", *kPass = "backward_update", *kMoved = "w and v, read and written";
  static double bytes(const Shape& s) { return bytes_of<float>(4 * s.K * s.C); }
  static Shape part(const Shape& s) { return {s.N, 517, 33}; }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, dy, dx;
  Operand<float> w, v;
  Operand<bfloat16> rounded;
  LinearUpdate(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        x(on, s.N * s.C, 4),
        dy(on, s.N * s.K, 5),
        dx(on, s.N * s.C),
        w(on, s.K * s.C, 1),
        v(on, s.K * s.C, 2),
        rounded(on, s.K * s.C, 1) {}
  void run() {
    constexpr UpdateState kState{1e-3f, 1.0f, 10};
    constexpr SgdOptions kMomentum{0.9f};
    ParameterUpdate<float> update{w, nullptr, v, nullptr, w.size(), 5e-4f, nullptr};
    if constexpr (std::is_same_v<T, bfloat16>) update.rounded = rounded;
    if (side == Side::cpu) {
      return cpu::linear_backward_update<T>(x, dy, dx, nullptr, Accumulate::no, shape, {kMomentum, kState}, update,
                                            context);
    }
    Operand<float> dw(side, w.size());
    if constexpr (std::is_same_v<T, bfloat16>) {
      reference::linear_backward_data<T>(dy, rounded, dx, shape, context);
    } else {
      reference::linear_backward_data<T>(dy, w, dx, shape, context);
    }
    reference::linear_backward_weight<T>(x, dy, dw, nullptr, shape, Accumulate::no, context);
    update.g = dw;
    reference::sgd_update(&update, 1, kMomentum, &kState, {}, context);
  }
  Results results() const { return results_of(dx, w, v); }
};

void add_shape(KernelList& list, const std::string& name, const LinearShape& shape) {
  add<LinearForward>(list, name, shape);
  add<LinearBackwardData>(list, name, shape);
  add<LinearBackwardWeight>(list, name, shape);
}

}  // namespace

void add_linears(KernelList& list) {
  add_shape(list, "tiny", {3, 40, 24});
  add_shape(list, "alexnet_mini_fc1", {128, 4096, 128});
  add_shape(list, "alexnet_mini_fc2", {128, 128, 10});
  add_shape(list, "alexnet_cifar_fc1", {256, 1024, 4096});
  add_shape(list, "alexnet_cifar_fc2", {256, 4096, 4096});
  add_shape(list, "alexnet_cifar_fc3", {256, 4096, 10});
  for (const int64_t batch : {1, 32, 128}) {
    add_shape(list, fmt::format("alexnet_fc6_batch_{}", batch), {batch, 9216, 4096});
    add_shape(list, fmt::format("alexnet_fc7_batch_{}", batch), {batch, 4096, 4096});
    add_shape(list, fmt::format("alexnet_fc8_batch_{}", batch), {batch, 4096, 1000});
  }
  add<LinearUpdate>(list, "tiny", {4, 33, 517});
  for (const int64_t batch : {1, 8, 32, 128}) {
    add<LinearUpdate>(list, fmt::format("alexnet_fc6_batch_{}", batch), {batch, 9216, 4096});
    add<LinearUpdate>(list, fmt::format("alexnet_fc7_batch_{}", batch), {batch, 4096, 4096});
  }
}

}  // namespace striate::bench
