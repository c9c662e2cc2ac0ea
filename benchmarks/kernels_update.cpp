// The optimizer's update inside the backward of a linear layer; its pass over all parameters is in
// kernels_elementwise.cpp.
#include "benchmarks/kernels_memory.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"

namespace striate::bench {
namespace {

Context& context() { return machine().context; }

constexpr UpdateState kState{1e-3f, 1.0f, 10};
constexpr SgdOptions kMomentum{0.9f};
constexpr float kDecay = 5e-4f;

/// A parameter and its momentum.
struct Parameter {
  Floats w, v;
  explicit Parameter(int64_t count) : w(values(count, 1)), v(values(count, 2)) {}
  ParameterUpdate<float> update(const float* g) {
    return {w.data(), g, v.data(), nullptr, static_cast<int64_t>(w.size()), kDecay};
  }
};

/// dx, and the weights moved with momentum by a gradient that is not kept.
struct LinearUpdate {
  using Shape = LinearShape;
  static constexpr const char* kName = "linear_backward_update";
  static constexpr const char* kMoved = "w and v, read and written";
  static double bytes(const Shape& s) { return 4 * floats(s.K * s.C); }
  static Shape part(const Shape& s) { return {s.N, 517, 33}; }
  Shape shape;
  Parameter parameter;
  Floats x, dy, dx;
  explicit LinearUpdate(const Shape& s)
      : shape(s),
        parameter(s.K * s.C),
        x(values(s.N * s.C, 4)),
        dy(values(s.N * s.K, 5)),
        dx(static_cast<size_t>(s.N * s.C)) {}
  void run() {
    cpu::linear_backward_update(x.data(), dy.data(), dx.data(), nullptr, Accumulate::no, shape, {kMomentum, kState},
                                parameter.update(nullptr), context());
  }
  bool agrees() {
    Parameter expected(shape.K * shape.C);
    Floats expected_dx(dx.size()), dw(expected.w.size());
    reference::linear_backward_data(dy.data(), expected.w.data(), expected_dx.data(), shape, context());
    reference::linear_backward_weight<float>(x.data(), dy.data(), dw.data(), nullptr, shape, Accumulate::no, context());
    const auto update = expected.update(dw.data());
    reference::sgd_update(&update, 1, kMomentum, &kState, context());
    return close(dx, expected_dx) && close(parameter.w, expected.w) && close(parameter.v, expected.v);
  }
};

}  // namespace

void add_updates() {
  for (const int64_t batch : {1, 8, 32, 128}) {
    add_row<LinearUpdate>(fmt::format("alexnet_fc6_batch_{}", batch), {batch, 9216, 4096});
    add_row<LinearUpdate>(fmt::format("alexnet_fc7_batch_{}", batch), {batch, 4096, 4096});
  }
}

}  // namespace striate::bench
