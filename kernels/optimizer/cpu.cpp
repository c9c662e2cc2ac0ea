// One parallel pass over all parameters in chunks of a fixed size; each element is read and written once, so memory
// bounds every update. An element's new value depends on that element only, and the norm is summed chunk by chunk in
// double: the same bits for any number of threads.
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

using Update = ParameterUpdate<float>;

constexpr int64_t kChunk = 16384;  // elements; 64 KiB of each array

inline int64_t chunks_of(const Update& update) { return (update.n + kChunk - 1) / kChunk; }

inline int64_t chunks_of(const Update* updates, int64_t count) {
  int64_t chunks = 0;
  for (int64_t u = 0; u < count; ++u) chunks += chunks_of(updates[u]);
  return chunks;
}

// Calls fn(chunk, update, begin, end) for every chunk of every parameter, in parallel.
template <typename Fn>
void for_each_chunk(const Update* updates, int64_t count, Context& context, Fn&& fn) {
  context.threads->parallel_for(chunks_of(updates, count), 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    const Update* update = updates;
    int64_t first = 0;  // of `update`
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      while (chunk - first >= chunks_of(*update)) first += chunks_of(*update++);
      const int64_t offset = (chunk - first) * kChunk;
      fn(chunk, *update, offset, std::min(update->n, offset + kChunk));
    }
  });
}

// ---- one run of one parameter: what the passes over all parameters and the products that update share ----

void SgdRun(const UpdateRule& rule, const Update& u) {
  const Floats d;
  const auto momentum = hn::Set(d, rule.sgd.momentum), rate = hn::Set(d, rule.learning_rate);
  const auto gradient_scale = hn::Set(d, rule.gradient_scale), decay = hn::Set(d, u.weight_decay);
  for_each_vector(0, u.n, [&](int64_t i, auto part) HWY_ATTR {
    const auto w = part.load(u.w + i);
    const auto g = hn::MulAdd(decay, w, hn::Mul(gradient_scale, part.load(u.g + i)));
    if (rule.sgd.paper_update) {
      // µv − λεw − εg = µv − ε(g + λw)
      auto v = hn::Mul(rate, g);
      v = u.s1 != nullptr ? hn::MulSub(momentum, part.load(u.s1 + i), v) : hn::Neg(v);
      if (u.s1 != nullptr) part.store(v, u.s1 + i);
      part.store(hn::Add(w, v), u.w + i);
    } else {
      auto v = g;
      if (u.s1 != nullptr) {
        v = hn::MulAdd(momentum, part.load(u.s1 + i), g);
        part.store(v, u.s1 + i);
      }
      if (rule.sgd.nesterov) v = hn::MulAdd(momentum, v, g);
      part.store(hn::NegMulAdd(rate, v, w), u.w + i);
    }
  });
}

void AdamRun(const UpdateRule& rule, const Update& u) {
  const AdamOptions& options = rule.adam;
  const Floats d;
  const auto beta1 = hn::Set(d, options.beta1), rest1 = hn::Set(d, 1.0f - options.beta1);
  const auto beta2 = hn::Set(d, options.beta2), rest2 = hn::Set(d, 1.0f - options.beta2);
  const auto eps = hn::Set(d, options.eps), gradient_scale = hn::Set(d, rule.gradient_scale);
  // ε·m̂/(√v̂ + eps) with both corrections as factors.
  const auto rate = hn::Set(d, rule.adam_rate), root_factor = hn::Set(d, rule.adam_root_factor);
  const auto decay = hn::Set(d, options.decoupled ? 0.0f : u.weight_decay);
  const auto shrink = hn::Set(d, options.decoupled ? rule.learning_rate * u.weight_decay : 0.0f);
  for_each_vector(0, u.n, [&](int64_t i, auto part) HWY_ATTR {
    const auto old = part.load(u.w + i);
    const auto g = hn::MulAdd(decay, old, hn::Mul(gradient_scale, part.load(u.g + i)));
    const auto m = hn::MulAdd(beta1, part.load(u.s1 + i), hn::Mul(rest1, g));
    const auto v = hn::MulAdd(beta2, part.load(u.s2 + i), hn::Mul(rest2, hn::Mul(g, g)));
    part.store(m, u.s1 + i);
    part.store(v, u.s2 + i);
    const auto w = hn::NegMulAdd(shrink, old, old);
    const auto divisor = hn::MulAdd(hn::Sqrt(v), root_factor, eps);
    part.store(hn::NegMulAdd(rate, hn::Div(m, divisor), w), u.w + i);
  });
}

void RmspropRun(const UpdateRule& rule, const Update& u) {
  const RmspropOptions& options = rule.rmsprop;
  const Floats d;
  const auto alpha = hn::Set(d, options.alpha), rest = hn::Set(d, 1.0f - options.alpha);
  const auto eps = hn::Set(d, options.eps), momentum = hn::Set(d, options.momentum);
  const auto rate = hn::Set(d, rule.learning_rate), gradient_scale = hn::Set(d, rule.gradient_scale);
  const auto decay = hn::Set(d, u.weight_decay);
  for_each_vector(0, u.n, [&](int64_t i, auto part) HWY_ATTR {
    const auto w = part.load(u.w + i);
    const auto g = hn::MulAdd(decay, w, hn::Mul(gradient_scale, part.load(u.g + i)));
    const auto s = hn::MulAdd(alpha, part.load(u.s1 + i), hn::Mul(rest, hn::Mul(g, g)));
    part.store(s, u.s1 + i);
    auto step = hn::Div(g, hn::Add(hn::Sqrt(s), eps));
    if (options.momentum > 0.0f) {
      step = hn::MulAdd(momentum, part.load(u.s2 + i), step);
      part.store(step, u.s2 + i);
    }
    part.store(hn::NegMulAdd(rate, step, w), u.w + i);
  });
}

void Run(const UpdateRule& rule, const Update& run) {
  switch (rule.method) {
    case UpdateRule::Method::sgd:
      return SgdRun(rule, run);
    case UpdateRule::Method::adam:
      return AdamRun(rule, run);
    case UpdateRule::Method::rmsprop:
      return RmspropRun(rule, run);
  }
}

void UpdateAll(const Update* updates, int64_t count, const UpdateRule& rule, Context& context) {
  for_each_chunk(updates, count, context, [&](int64_t, const Update& u, int64_t begin, int64_t end) HWY_ATTR {
    Run(rule, {u.w + begin, u.g + begin, u.s1 != nullptr ? u.s1 + begin : nullptr,
               u.s2 != nullptr ? u.s2 + begin : nullptr, end - begin, u.weight_decay});
  });
}

double SumOfSquares(const Update* updates, int64_t count, Context& context) {
  const int64_t chunks = chunks_of(updates, count);
  double* sums = context.workspace->get<double>(chunks);
  for_each_chunk(updates, count, context, [&](int64_t chunk, const Update& u, int64_t begin, int64_t end) HWY_ATTR {
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> floats;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    auto even = hn::Zero(d), odd = hn::Zero(d);  // two chains hide the latency of the additions
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const auto a = hn::PromoteTo(d, hn::LoadU(floats, u.g + i));
      const auto b = hn::PromoteTo(d, hn::LoadU(floats, u.g + i + lanes));
      even = hn::MulAdd(a, a, even);
      odd = hn::MulAdd(b, b, odd);
    }
    double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
    for (; i < end; ++i) sum += double{u.g[i]} * double{u.g[i]};
    sums[chunk] = sum;
  });
  double total = 0.0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) total += sums[chunk];
  return total;
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate {

UpdateRule::UpdateRule(const SgdOptions& options, const UpdateState& state)
    : method(Method::sgd), sgd(options), learning_rate(state.learning_rate), gradient_scale(state.gradient_scale) {}

UpdateRule::UpdateRule(const AdamOptions& options, const UpdateState& state)
    : method(Method::adam), adam(options), learning_rate(state.learning_rate), gradient_scale(state.gradient_scale) {
  const auto t = static_cast<double>(state.step + 1);
  adam_rate = static_cast<float>(state.learning_rate / (1.0 - std::pow(double{options.beta1}, t)));
  adam_root_factor = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(double{options.beta2}, t)));
}

UpdateRule::UpdateRule(const RmspropOptions& options, const UpdateState& state)
    : method(Method::rmsprop),
      rmsprop(options),
      learning_rate(state.learning_rate),
      gradient_scale(state.gradient_scale) {}

}  // namespace striate

namespace striate::cpu {

HWY_EXPORT(Run);
HWY_EXPORT(UpdateAll);
HWY_EXPORT(SumOfSquares);

void update_run(const UpdateRule& rule, const ParameterUpdate<float>& run) { HWY_DYNAMIC_DISPATCH(Run)(rule, run); }

void sgd_update(const ParameterUpdate<float>* updates, int64_t count, const SgdOptions& options,
                const UpdateState* state, Context& context) {
  HWY_DYNAMIC_DISPATCH(UpdateAll)(updates, count, {options, *state}, context);
}

void adam_update(const ParameterUpdate<float>* updates, int64_t count, const AdamOptions& options,
                 const UpdateState* state, Context& context) {
  HWY_DYNAMIC_DISPATCH(UpdateAll)(updates, count, {options, *state}, context);
}

void rmsprop_update(const ParameterUpdate<float>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, Context& context) {
  HWY_DYNAMIC_DISPATCH(UpdateAll)(updates, count, {options, *state}, context);
}

void global_norm(const ParameterUpdate<float>* updates, int64_t count, float max_norm, UpdateState* state, float* norm,
                 Context& context) {
  const double sum = HWY_DYNAMIC_DISPATCH(SumOfSquares)(updates, count, context);
  const double found = std::abs(double{state->gradient_scale}) * std::sqrt(sum);
  *norm = static_cast<float>(found);
  if (max_norm > 0.0f && std::isfinite(*norm) && found > max_norm) {
    state->gradient_scale = static_cast<float>(state->gradient_scale * (max_norm / found));
  }
}

}  // namespace striate::cpu
#endif
