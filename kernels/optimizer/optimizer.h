#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

/// One parameter as the fused updates see it.
template <typename T>
struct ParameterUpdate {
  T* w = nullptr;
  const T* g = nullptr;
  T* s1 = nullptr;  ///< SGD: momentum buffer; Adam: first moment; RMSprop: square average. Null where not used.
  T* s2 = nullptr;  ///< Adam: second moment; RMSprop: momentum buffer. Null where not used.
  int64_t n = 0;
  T weight_decay = 0;
  bfloat16* rounded = nullptr;  ///< where not null, the update writes to_bfloat16 of the new w here in the same pass
};

/// What changes from step to step. It lives in the device's memory, so that a recorded sequence of kernels can be
/// replayed.
struct UpdateState {
  float learning_rate = 0.0f;
  float gradient_scale = 1.0f;  ///< every gradient is multiplied by it as it is read (accumulation)
  int64_t step = 0;             ///< updates done before this one
};

/// Whether an update first measures the norm of all gradients, and shrinks them to max_norm where it is above that.
struct Clipping {
  float* norm = nullptr;  ///< where √(Σ over all gradients of (gradient_scale·g)²) is written; null: neither is done
  float max_norm = 0.0f;  ///< 0: nothing is shrunk
};

/// Stochastic gradient descent.
///   pytorch:  g ← g + λw;  v ← µv + g (v = g at the first step);  w ← w − ε(nesterov ? g + µv : v)
///   paper:    v ← µv − λεw − εg;  w ← w + v                        (Krizhevsky et al. 2012, §5)
struct SgdOptions {
  float momentum = 0.0f;
  bool nesterov = false;
  bool paper_update = false;
};

/// Adam (Kingma & Ba 2015): weight decay is added to the gradient. AdamW (Loshchilov & Hutter 2019), `decoupled`: w ← w
/// − ελw first.
///   m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  w ← w − ε·m̂ / (√v̂ + eps),  m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)
struct AdamOptions {
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  bool decoupled = false;
};

/// RMSprop (Tieleman & Hinton 2012) as PyTorch has it:
///   g ← g + λw;  s ← αs + (1 − α)g²;  u = g / (√s + eps);  momentum > 0: b ← µb + u, w ← w − εb;  else w ← w − εu
struct RmspropOptions {
  float alpha = 0.99f, eps = 1e-8f, momentum = 0.0f;
};

/// One step of one of these methods with its constants worked out, for products that update a parameter as its
/// gradient comes out of them. It holds values, not pointers to device memory: for the cpu.
struct UpdateRule {
  UpdateRule() = default;
  UpdateRule(const SgdOptions& options, const UpdateState& state);
  UpdateRule(const AdamOptions& options, const UpdateState& state);
  UpdateRule(const RmspropOptions& options, const UpdateState& state);

  enum class Method { sgd, adam, rmsprop };
  Method method = Method::sgd;
  SgdOptions sgd{};
  AdamOptions adam{};
  RmspropOptions rmsprop{};
  float learning_rate = 0.0f, gradient_scale = 1.0f;
  float adam_rate = 0.0f;         ///< ε / (1 − β₁ᵗ)
  float adam_root_factor = 0.0f;  ///< 1 / √(1 − β₂ᵗ)
};

// Every update is one pass over all parameters: `updates` [count], each element read and written once. `state` is read,
// not changed. State buffers (s1, s2) must be zero before the first step.
//
// Clipping is one more pass before, over the gradients. Where max_norm > 0 and the norm is above it, the gradients
// count times max_norm / norm in this update. A norm that is not finite shrinks nothing, and is left for the caller to
// see. The sum's order depends on sizes only.
namespace reference {
template <typename T>
void sgd_update(const ParameterUpdate<T>* updates, int64_t count, const SgdOptions& options, const UpdateState* state,
                const Clipping& clipping, Context& context);
template <typename T>
void adam_update(const ParameterUpdate<T>* updates, int64_t count, const AdamOptions& options, const UpdateState* state,
                 const Clipping& clipping, Context& context);
template <typename T>
void rmsprop_update(const ParameterUpdate<T>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context& context);
}  // namespace reference

namespace cpu {
void sgd_update(const ParameterUpdate<float>* updates, int64_t count, const SgdOptions& options,
                const UpdateState* state, const Clipping& clipping, Context& context);
void adam_update(const ParameterUpdate<float>* updates, int64_t count, const AdamOptions& options,
                 const UpdateState* state, const Clipping& clipping, Context& context);
void rmsprop_update(const ParameterUpdate<float>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context& context);
}  // namespace cpu

namespace cuda {
void sgd_update(const ParameterUpdate<float>* updates, int64_t count, const SgdOptions& options,
                const UpdateState* state, const Clipping& clipping, Context& context);
void adam_update(const ParameterUpdate<float>* updates, int64_t count, const AdamOptions& options,
                 const UpdateState* state, const Clipping& clipping, Context& context);
void rmsprop_update(const ParameterUpdate<float>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context& context);
}  // namespace cuda

}  // namespace striate
