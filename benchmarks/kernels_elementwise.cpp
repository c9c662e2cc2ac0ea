// Maps over runs of values: activations, sums, conversions, dropout, the optimizers' updates.
#include <algorithm>

#include "benchmarks/kernels_memory.h"
#include "kernels/activation/activation.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/optimizer/optimizer.h"

namespace striate::bench {
namespace {

Context& context() { return machine().context; }

struct Elementwise {
  using Shape = Values;
  static Shape part(const Shape& s) { return {std::min<int64_t>(s.size, 10007)}; }
  int64_t n;
  Floats a, b, y;
  explicit Elementwise(const Shape& s) : n(s.size), a(values(n, 1)), b(values(n, 2)), y(n) {}
};

struct ReluForward : Elementwise {
  static constexpr const char* kName = "relu_forward";
  static constexpr const char* kMoved = "x + y";
  static double bytes(const Shape& s) { return floats(2 * s.size); }
  using Elementwise::Elementwise;
  void run() { cpu::activation_forward(Activation::relu, a.data(), y.data(), n, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::activation_forward(Activation::relu, a.data(), expected.data(), n, context());
    return y == expected;
  }
};

struct ReluBackward : Elementwise {
  static constexpr const char* kName = "relu_backward";
  static constexpr const char* kMoved = "y + dy + dx";
  static double bytes(const Shape& s) { return floats(3 * s.size); }
  using Elementwise::Elementwise;
  void run() { cpu::activation_backward(Activation::relu, a.data(), b.data(), y.data(), n, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::activation_backward(Activation::relu, a.data(), b.data(), expected.data(), n, context());
    return y == expected;
  }
};

struct AddRelu : Elementwise {
  static constexpr const char* kName = "add_relu";
  static constexpr const char* kMoved = "a + b + y";
  static double bytes(const Shape& s) { return floats(3 * s.size); }
  using Elementwise::Elementwise;
  void run() { cpu::add(a.data(), b.data(), y.data(), n, Activation::relu, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::add(a.data(), b.data(), expected.data(), n, Activation::relu, context());
    return close(y, expected);
  }
};

struct Sum : Elementwise {
  static constexpr const char* kName = "add";
  static constexpr const char* kMoved = "a + b + y";
  static double bytes(const Shape& s) { return floats(3 * s.size); }
  using Elementwise::Elementwise;
  void run() { cpu::add(a.data(), b.data(), y.data(), n, Activation::none, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::add(a.data(), b.data(), expected.data(), n, Activation::none, context());
    return close(y, expected);
  }
};

struct AccumulateInto : Elementwise {
  static constexpr const char* kName = "accumulate";
  static constexpr const char* kMoved = "x + y read + y";
  static double bytes(const Shape& s) { return floats(3 * s.size); }
  using Elementwise::Elementwise;
  void run() { cpu::accumulate(a.data(), b.data(), n, context()); }
  bool agrees() {
    Floats ours = values(n, 2), expected = ours;
    cpu::accumulate(a.data(), ours.data(), n, context());
    reference::accumulate(a.data(), expected.data(), n, context());
    return close(ours, expected);
  }
};

struct FloatToBf16 {
  using Shape = Values;
  static constexpr const char* kName = "float_to_bf16";
  static constexpr const char* kMoved = "x + y (2 bytes a value)";
  static double bytes(const Shape& s) { return 6.0 * static_cast<double>(s.size); }
  static Shape part(const Shape& s) { return Elementwise::part(s); }
  int64_t n;
  Floats x;
  Lines<bfloat16> y;
  explicit FloatToBf16(const Shape& s) : n(s.size), x(values(n, 1)), y(n) {}
  void run() { cpu::float_to_bf16(x.data(), y.data(), n, context()); }
  bool agrees() {
    Lines<bfloat16> expected(y.size());
    reference::float_to_bf16(x.data(), expected.data(), n, context());
    return std::ranges::equal(y, expected, {}, &bfloat16::bits, &bfloat16::bits);
  }
};

struct Bf16ToFloat {
  using Shape = Values;
  static constexpr const char* kName = "bf16_to_float";
  static constexpr const char* kMoved = "x (2 bytes a value) + y";
  static double bytes(const Shape& s) { return 6.0 * static_cast<double>(s.size); }
  static Shape part(const Shape& s) { return Elementwise::part(s); }
  int64_t n;
  Lines<bfloat16> x;
  Floats y;
  explicit Bf16ToFloat(const Shape& s) : n(s.size), x(n), y(n) {
    const Floats from = values(n, 1);
    cpu::float_to_bf16(from.data(), x.data(), n, context());
  }
  void run() { cpu::bf16_to_float(x.data(), y.data(), n, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::bf16_to_float(x.data(), expected.data(), n, context());
    return y == expected;
  }
};

/// A batch of RGB images.
struct NormalizeU8 {
  using Shape = Values;
  static constexpr const char* kName = "normalize_u8";
  static constexpr const char* kMoved = "x (1 byte a value) + y";
  static double bytes(const Shape& s) { return 5.0 * static_cast<double>(s.size); }
  static Shape part(const Shape&) { return {3 * 1001}; }
  int64_t n;
  Lines<uint8_t> x;
  Floats y;
  explicit NormalizeU8(const Shape& s) : n(s.size), x(n), y(n) {
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<uint8_t>(i * 37 % 251);
  }
  void run() { cpu::normalize_u8(x.data(), y.data(), kScale, kShift, n / 3, 3, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::normalize_u8(x.data(), expected.data(), kScale, kShift, n / 3, 3, context());
    return close(y, expected);
  }
  static constexpr float kScale[] = {0.017f, 0.018f, 0.016f}, kShift[] = {-2.1f, -2.0f, -1.8f};
};

struct Dropout {
  using Shape = DropoutShape;
  static constexpr const char* kMoved = "x + y";
  static double bytes(const Shape& s) { return floats(2 * s.size()); }
  static Shape part(Shape s) {
    s.N = 1;
    return s;
  }
  Shape shape;
  DropoutState state{7, 11, 3};
  Floats x, y;
  explicit Dropout(const Shape& s) : shape(s), x(values(s.size(), 1)), y(s.size()) {}
};

struct DropoutForward : Dropout {
  static constexpr const char* kName = "dropout_forward";
  using Dropout::Dropout;
  void run() { cpu::dropout_forward(x.data(), y.data(), shape, &state, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::dropout_forward(x.data(), expected.data(), shape, &state, context());
    return close(y, expected);
  }
};

struct DropoutBackward : Dropout {
  static constexpr const char* kName = "dropout_backward";
  using Dropout::Dropout;
  void run() { cpu::dropout_backward(x.data(), y.data(), shape, &state, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::dropout_backward(x.data(), expected.data(), shape, &state, context());
    return close(y, expected);
  }
};

struct Optimizer {
  using Shape = Values;
  static Shape part(const Shape& s) { return Elementwise::part(s); }
  int64_t n;
  Floats w, g, s1, s2;
  UpdateState state{1e-3f, 1.0f, 3};
  explicit Optimizer(const Shape& s) : n(s.size), w(values(n, 1)), g(values(n, 2)), s1(n, 0.0f), s2(n, 0.0f) {}
  ParameterUpdate<float> update() { return {w.data(), g.data(), s1.data(), s2.data(), n, 5e-4f}; }
};

struct Sgd : Optimizer {
  static constexpr const char* kName = "sgd_momentum";
  static constexpr const char* kMoved = "w, g, v read + w, v";
  static double bytes(const Shape& s) { return floats(5 * s.size); }
  using Optimizer::Optimizer;
  void run() {
    const auto u = update();
    cpu::sgd_update(&u, 1, kOptions, &state, context());
  }
  bool agrees() {
    Optimizer other({n});
    const auto u = other.update();
    reference::sgd_update(&u, 1, kOptions, &state, context());
    return close(w, other.w) && close(s1, other.s1);
  }
  static constexpr SgdOptions kOptions{0.9f, false, false};
};

struct AdamW : Optimizer {
  static constexpr const char* kName = "adamw";
  static constexpr const char* kMoved = "w, g, m, v read + w, m, v";
  static double bytes(const Shape& s) { return floats(7 * s.size); }
  using Optimizer::Optimizer;
  void run() {
    const auto u = update();
    cpu::adam_update(&u, 1, kOptions, &state, context());
  }
  bool agrees() {
    Optimizer other({n});
    const auto u = other.update();
    reference::adam_update(&u, 1, kOptions, &state, context());
    return close(w, other.w) && close(s1, other.s1) && close(s2, other.s2);
  }
  static constexpr AdamOptions kOptions{0.9f, 0.999f, 1e-8f, true};
};

}  // namespace

void add_elementwise() {
  const Values conv1{128 * 55 * 55 * 64};
  add_rows<ReluForward, ReluBackward>("alexnet_conv1", conv1);
  add_row<Sum>("alexnet_conv1", conv1);
  add_row<AddRelu>("alexnet_conv1", conv1);
  add_row<AccumulateInto>("alexnet_conv1", conv1);
  add_row<FloatToBf16>("alexnet_conv1", conv1);
  add_row<Bf16ToFloat>("alexnet_conv1", conv1);
  add_row<NormalizeU8>("128_images_224", {128 * 224 * 224 * 3});
  add_rows<DropoutForward, DropoutBackward>("alexnet_fc6", {128, 9216, 0.5f, 1});
  add_rows<DropoutForward, DropoutBackward>("16_million", {4096, 4096, 0.5f, 1});
  add_row<Sgd>("alexnet_fc6", {9216 * 4096});
  add_row<AdamW>("alexnet_fc6", {9216 * 4096});
}

}  // namespace striate::bench
