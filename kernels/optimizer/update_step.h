// The arithmetic of one step of each method on one vector, for the passes over all parameters and for the products that
// update what they have just made the gradient of: one source, so that both give the same bits.
//
// Include kernels/simd.h before it, in a file that is compiled for each instruction set. No `#pragma once`: so is this.

#if defined(STRIATE_KERNELS_OPTIMIZER_UPDATE_STEP_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRIATE_KERNELS_OPTIMIZER_UPDATE_STEP_H_
#undef STRIATE_KERNELS_OPTIMIZER_UPDATE_STEP_H_
#else
#define STRIATE_KERNELS_OPTIMIZER_UPDATE_STEP_H_
#endif

#include <cstdint>

#include "kernels/optimizer/optimizer.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {

// step(part, i, w, gradient, u): elements u.w[i …] hold w; `part` is WholeVector or PartOfVector.

template <class Part>
HWY_INLINE void store_weight(Part part, FloatVector w, const ParameterUpdate<float>& u, int64_t i) {
  part.store(w, u.w + i);
  if (u.rounded != nullptr) part.store(w, u.rounded + i);
}

class SgdStep {
 public:
  SgdStep(const UpdateRule& rule, float weight_decay)
      : momentum_(hn::Set(Floats(), rule.sgd.momentum)),
        rate_(hn::Set(Floats(), rule.learning_rate)),
        gradient_scale_(hn::Set(Floats(), rule.gradient_scale)),
        decay_(hn::Set(Floats(), weight_decay)),
        paper_(rule.sgd.paper_update),
        nesterov_(rule.sgd.nesterov) {}

  template <class Part>
  HWY_INLINE void operator()(Part part, int64_t i, FloatVector w, FloatVector gradient,
                             const ParameterUpdate<float>& u) const {
    const auto g = hn::MulAdd(decay_, w, hn::Mul(gradient_scale_, gradient));
    if (paper_) {
      // µv − λεw − εg = µv − ε(g + λw)
      auto v = hn::Mul(rate_, g);
      v = u.s1 != nullptr ? hn::MulSub(momentum_, part.load(u.s1 + i), v) : hn::Neg(v);
      if (u.s1 != nullptr) part.store(v, u.s1 + i);
      store_weight(part, hn::Add(w, v), u, i);
    } else {
      auto v = g;
      if (u.s1 != nullptr) {
        v = hn::MulAdd(momentum_, part.load(u.s1 + i), g);
        part.store(v, u.s1 + i);
      }
      if (nesterov_) v = hn::MulAdd(momentum_, v, g);
      store_weight(part, hn::NegMulAdd(rate_, v, w), u, i);
    }
  }

 private:
  FloatVector momentum_, rate_, gradient_scale_, decay_;
  bool paper_, nesterov_;
};

class AdamStep {
 public:
  AdamStep(const UpdateRule& rule, float weight_decay)
      : beta1_(hn::Set(Floats(), rule.adam.beta1)),
        rest1_(hn::Set(Floats(), 1.0f - rule.adam.beta1)),
        beta2_(hn::Set(Floats(), rule.adam.beta2)),
        rest2_(hn::Set(Floats(), 1.0f - rule.adam.beta2)),
        eps_(hn::Set(Floats(), rule.adam.eps)),
        gradient_scale_(hn::Set(Floats(), rule.gradient_scale)),
        rate_(hn::Set(Floats(), rule.adam_rate)),
        root_factor_(hn::Set(Floats(), rule.adam_root_factor)),
        decay_(hn::Set(Floats(), rule.adam.decoupled ? 0.0f : weight_decay)),
        shrink_(hn::Set(Floats(), rule.adam.decoupled ? rule.learning_rate * weight_decay : 0.0f)) {}

  template <class Part>
  HWY_INLINE void operator()(Part part, int64_t i, FloatVector old, FloatVector gradient,
                             const ParameterUpdate<float>& u) const {
    const auto g = hn::MulAdd(decay_, old, hn::Mul(gradient_scale_, gradient));
    const auto m = hn::MulAdd(beta1_, part.load(u.s1 + i), hn::Mul(rest1_, g));
    const auto v = hn::MulAdd(beta2_, part.load(u.s2 + i), hn::Mul(rest2_, hn::Mul(g, g)));
    part.store(m, u.s1 + i);
    part.store(v, u.s2 + i);
    const auto w = hn::NegMulAdd(shrink_, old, old);
    const auto divisor = hn::MulAdd(hn::Sqrt(v), root_factor_, eps_);
    store_weight(part, hn::NegMulAdd(rate_, hn::Div(m, divisor), w), u, i);
  }

 private:
  FloatVector beta1_, rest1_, beta2_, rest2_, eps_, gradient_scale_;
  FloatVector rate_, root_factor_;  // ε·m̂/(√v̂ + eps) with both corrections as factors
  FloatVector decay_, shrink_;
};

class RmspropStep {
 public:
  RmspropStep(const UpdateRule& rule, float weight_decay)
      : alpha_(hn::Set(Floats(), rule.rmsprop.alpha)),
        rest_(hn::Set(Floats(), 1.0f - rule.rmsprop.alpha)),
        eps_(hn::Set(Floats(), rule.rmsprop.eps)),
        momentum_(hn::Set(Floats(), rule.rmsprop.momentum)),
        rate_(hn::Set(Floats(), rule.learning_rate)),
        gradient_scale_(hn::Set(Floats(), rule.gradient_scale)),
        decay_(hn::Set(Floats(), weight_decay)),
        with_momentum_(rule.rmsprop.momentum > 0.0f) {}

  template <class Part>
  HWY_INLINE void operator()(Part part, int64_t i, FloatVector w, FloatVector gradient,
                             const ParameterUpdate<float>& u) const {
    const auto g = hn::MulAdd(decay_, w, hn::Mul(gradient_scale_, gradient));
    const auto s = hn::MulAdd(alpha_, part.load(u.s1 + i), hn::Mul(rest_, hn::Mul(g, g)));
    part.store(s, u.s1 + i);
    auto step = hn::Div(g, hn::Add(hn::Sqrt(s), eps_));
    if (with_momentum_) {
      step = hn::MulAdd(momentum_, part.load(u.s2 + i), step);
      part.store(step, u.s2 + i);
    }
    store_weight(part, hn::NegMulAdd(rate_, step, w), u, i);
  }

 private:
  FloatVector alpha_, rest_, eps_, momentum_, rate_, gradient_scale_, decay_;
  bool with_momentum_;
};

/// Calls fn(step) with the rule's method for a parameter of that weight decay.
template <typename Fn>
HWY_INLINE void with_step(const UpdateRule& rule, float weight_decay, Fn&& fn) {
  switch (rule.method) {
    case UpdateRule::Method::sgd:
      return fn(SgdStep(rule, weight_decay));
    case UpdateRule::Method::adam:
      return fn(AdamStep(rule, weight_decay));
    case UpdateRule::Method::rmsprop:
      return fn(RmspropStep(rule, weight_decay));
  }
}

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
