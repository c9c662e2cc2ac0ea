// The updates element by element, in double, each line a line of the contract.
#include <cmath>

#include "kernels/optimizer/optimizer.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {
// Calls fn(update, element, scale·g) for every element of every parameter.
template <typename T, typename Fn>
void for_each_element(const ParameterUpdate<T>* updates, int64_t count, double scale, Fn&& fn) {
  for (int64_t u = 0; u < count; ++u) {
    for (int64_t i = 0; i < updates[u].n; ++i) fn(updates[u], i, scale * updates[u].g[i]);
  }
}

// Of all gradients, clipping included.
template <typename T>
float scale_of(const ParameterUpdate<T>* updates, int64_t count, const UpdateState& state, const Clipping& clipping) {
  if (clipping.norm == nullptr) return state.gradient_scale;
  double sum = 0.0;
  for_each_element(updates, count, state.gradient_scale,
                   [&](const ParameterUpdate<T>&, int64_t, double g) { sum += g * g; });
  const double norm = std::sqrt(sum);
  *clipping.norm = static_cast<float>(norm);
  const bool clips = clipping.max_norm > 0.0f && std::isfinite(*clipping.norm) && norm > clipping.max_norm;
  return clips ? static_cast<float>(state.gradient_scale * (clipping.max_norm / norm)) : state.gradient_scale;
}

// The master copy, and what is rounded of it.
template <typename T>
void set_weight(const ParameterUpdate<T>& u, int64_t i, double w) {
  u.w[i] = static_cast<T>(w);
  if (u.rounded != nullptr) u.rounded[i] = rounded_to<bfloat16>(u.w[i]);
}
}  // namespace

template <typename T>
void sgd_update(const ParameterUpdate<T>* updates, int64_t count, const SgdOptions& options, const UpdateState* state,
                const Clipping& clipping, Context&) {
  const double rate = state->learning_rate, momentum = options.momentum;
  for_each_element(updates, count, scale_of(updates, count, *state, clipping),
                   [&](const ParameterUpdate<T>& u, int64_t i, double g) {
                     const double decay = u.weight_decay, w = u.w[i], v = u.s1 != nullptr ? u.s1[i] : 0.0;
                     if (options.paper_update) {
                       const double next = momentum * v - decay * rate * w - rate * g;
                       if (u.s1 != nullptr) u.s1[i] = static_cast<T>(next);
                       set_weight(u, i, w + next);
                     } else {
                       const double decayed = g + decay * w;
                       const double next = momentum * v + decayed;
                       if (u.s1 != nullptr) u.s1[i] = static_cast<T>(next);
                       set_weight(u, i, w - rate * (options.nesterov ? decayed + momentum * next : next));
                     }
                   });
}

template <typename T>
void adam_update(const ParameterUpdate<T>* updates, int64_t count, const AdamOptions& options, const UpdateState* state,
                 const Clipping& clipping, Context&) {
  const double rate = state->learning_rate, beta1 = options.beta1, beta2 = options.beta2, eps = options.eps;
  const auto t = static_cast<double>(state->step + 1);
  const double correction1 = 1.0 - std::pow(beta1, t), correction2 = 1.0 - std::pow(beta2, t);
  for_each_element(updates, count, scale_of(updates, count, *state, clipping),
                   [&](const ParameterUpdate<T>& u, int64_t i, double g) {
                     double w = u.w[i];
                     if (options.decoupled) {
                       w -= rate * u.weight_decay * w;
                     } else {
                       g += u.weight_decay * w;
                     }
                     const double m = beta1 * u.s1[i] + (1.0 - beta1) * g;
                     const double v = beta2 * u.s2[i] + (1.0 - beta2) * g * g;
                     u.s1[i] = static_cast<T>(m);
                     u.s2[i] = static_cast<T>(v);
                     set_weight(u, i, w - rate * (m / correction1) / (std::sqrt(v / correction2) + eps));
                   });
}

template <typename T>
void rmsprop_update(const ParameterUpdate<T>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context&) {
  const double rate = state->learning_rate, alpha = options.alpha, eps = options.eps, momentum = options.momentum;
  for_each_element(updates, count, scale_of(updates, count, *state, clipping),
                   [&](const ParameterUpdate<T>& u, int64_t i, double g) {
                     const double w = u.w[i];
                     g += u.weight_decay * w;
                     const double s = alpha * u.s1[i] + (1.0 - alpha) * g * g;
                     u.s1[i] = static_cast<T>(s);
                     double step = g / (std::sqrt(s) + eps);
                     if (momentum > 0.0) {
                       step += momentum * u.s2[i];
                       u.s2[i] = static_cast<T>(step);
                     }
                     set_weight(u, i, w - rate * step);
                   });
}

#define STRIATE_INSTANTIATE(T)                                                                                         \
  template void sgd_update(const ParameterUpdate<T>*, int64_t, const SgdOptions&, const UpdateState*, const Clipping&, \
                           Context&);                                                                                  \
  template void adam_update(const ParameterUpdate<T>*, int64_t, const AdamOptions&, const UpdateState*,                \
                            const Clipping&, Context&);                                                                \
  template void rmsprop_update(const ParameterUpdate<T>*, int64_t, const RmspropOptions&, const UpdateState*,          \
                               const Clipping&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
