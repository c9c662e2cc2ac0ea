// The optimizers' pass over all parameters, and with the norm of their gradients before it.
#include "benchmarks/kernels_measure.h"
#include "kernels/optimizer/optimizer.h"

namespace striate::bench {
namespace {

/// With bfloat16 the new weights are also written rounded, for the products of the next step.
template <typename T>
struct Parameters {
  using Shape = Values;
  static double bytes_with(int floats_each, const Shape& s) {
    return bytes_of<float>(floats_each * s.size) + (std::is_same_v<T, bfloat16> ? bytes_of<bfloat16>(s.size) : 0.0);
  }
  Side side;
  Context& context;
  Operand<float> w, g, s1, s2;
  Operand<bfloat16> rounded;
  Operand<UpdateState> state;
  Parameters(Side on, const Shape& s, Context& c)
      : side(on),
        context(c),
        w(on, s.size, 1),
        g(on, s.size, 2),
        s1(on, s.size),
        s2(on, s.size),
        rounded(on, s.size),
        state(on, Lines<UpdateState>{{1e-3f, 1.0f, 3}}) {}
  ParameterUpdate<float> update() {
    return {w, g, s1, s2, w.size(), 5e-4f, std::is_same_v<T, bfloat16> ? static_cast<bfloat16*>(rounded) : nullptr};
  }
  Results results() const { return results_of(w, s1, s2, rounded); }
};

template <typename T>
struct Sgd : Parameters<T> {
  static constexpr const char *kOp = "sgd_momentum", *kPass = "update", *kMoved = "w, g, v read + w, v";
  static double bytes(const Values& s) { return Parameters<T>::bytes_with(5, s); }
  using Parameters<T>::Parameters;
  void run() {
    const auto u = this->update();
    choose(this->side, reference::sgd_update<float>, cpu::sgd_update, cuda::sgd_update)(&u, 1, {0.9f, false, false},
                                                                                        this->state, {}, this->context);
  }
};

template <typename T>
struct AdamW : Parameters<T> {
  static constexpr const char *kOp = "adamw", *kPass = "update", *kMoved = "w, g, m, v read + w, m, v";
  static double bytes(const Values& s) { return Parameters<T>::bytes_with(7, s); }
  using Parameters<T>::Parameters;
  void run() {
    const auto u = this->update();
    choose(this->side, reference::adam_update<float>, cpu::adam_update, cuda::adam_update)(
        &u, 1, {0.9f, 0.999f, 1e-8f, true}, this->state, {}, this->context);
  }
};

template <typename T>
struct Rmsprop : Parameters<T> {
  static constexpr const char *kOp = "rmsprop", *kPass = "update", *kMoved = "w, g, s, v read + w, s, v";
  static double bytes(const Values& s) { return Parameters<T>::bytes_with(7, s); }
  using Parameters<T>::Parameters;
  void run() {
    const auto u = this->update();
    choose(this->side, reference::rmsprop_update<float>, cpu::rmsprop_update, cuda::rmsprop_update)(
        &u, 1, {0.99f, 1e-8f, 0.9f}, this->state, {}, this->context);
  }
};

/// The norm of the gradients before it, to which they are clipped.
template <typename T>
struct ClippedSgd : Parameters<T> {
  static constexpr const char *kOp = "sgd_momentum_clipped", *kPass = "update", *kMoved = "g, w, g, v read + w, v";
  static double bytes(const Values& s) { return Parameters<T>::bytes_with(6, s); }
  Operand<float> norm;
  ClippedSgd(Side on, const Values& s, Context& c) : Parameters<T>(on, s, c), norm(on, 1) {}
  void run() {
    const auto u = this->update();
    choose(this->side, reference::sgd_update<float>, cpu::sgd_update, cuda::sgd_update)(
        &u, 1, {0.9f, false, false}, this->state, {norm, 1.0f}, this->context);
  }
  Results results() const { return results_of(this->w, this->s1, this->rounded, norm); }
};

}  // namespace

void add_optimizers(KernelList& list) {
  for (const auto& [name, size] : {std::pair{"tiny", Values{2051}}, std::pair{"alexnet_fc6", Values{9216 * 4096}}}) {
    add<Sgd>(list, name, size);
    add<AdamW>(list, name, size);
    add<Rmsprop>(list, name, size);
    add<ClippedSgd>(list, name, size);
  }
}

}  // namespace striate::bench
