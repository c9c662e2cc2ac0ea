// One parallel pass over all parameters in chunks of a fixed size; each element is read and written once, so memory
// bounds every update. An element's new value depends on that element only, and the norm is summed chunk by chunk in
// double: the same bits for any number of threads.
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/cpu.cpp"
#include "kernels/simd.h"

#include "kernels/optimizer/update_step.h"

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

void UpdateAll(const Update* updates, int64_t count, const UpdateRule& rule, Context& context) {
  for_each_chunk(updates, count, context, [&](int64_t, const Update& u, int64_t begin, int64_t end) HWY_ATTR {
    with_step(rule, u.weight_decay, [&](const auto& step) HWY_ATTR {
      for_each_vector(begin, end,
                      [&](int64_t i, auto part) HWY_ATTR { step(part, i, part.load(u.w + i), part.load(u.g + i), u); });
    });
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

HWY_EXPORT(UpdateAll);
HWY_EXPORT(SumOfSquares);

namespace {
// What the update finds: the state, with the gradients' scale as clipping makes it.
UpdateState clipped(const ParameterUpdate<float>* updates, int64_t count, const UpdateState& state,
                    const Clipping& clipping, Context& context) {
  if (clipping.norm == nullptr) return state;
  const double sum = HWY_DYNAMIC_DISPATCH(SumOfSquares)(updates, count, context);
  const double norm = std::abs(double{state.gradient_scale}) * std::sqrt(sum);
  *clipping.norm = static_cast<float>(norm);
  UpdateState found = state;
  if (clipping.max_norm > 0.0f && std::isfinite(*clipping.norm) && norm > clipping.max_norm) {
    found.gradient_scale = static_cast<float>(state.gradient_scale * (clipping.max_norm / norm));
  }
  return found;
}

template <typename Options>
void update(const ParameterUpdate<float>* updates, int64_t count, const Options& options, const UpdateState& state,
            const Clipping& clipping, Context& context) {
  const UpdateRule rule(options, clipped(updates, count, state, clipping, context));
  HWY_DYNAMIC_DISPATCH(UpdateAll)(updates, count, rule, context);
}
}  // namespace

void sgd_update(const ParameterUpdate<float>* updates, int64_t count, const SgdOptions& options,
                const UpdateState* state, const Clipping& clipping, Context& context) {
  update(updates, count, options, *state, clipping, context);
}

void adam_update(const ParameterUpdate<float>* updates, int64_t count, const AdamOptions& options,
                 const UpdateState* state, const Clipping& clipping, Context& context) {
  update(updates, count, options, *state, clipping, context);
}

void rmsprop_update(const ParameterUpdate<float>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context& context) {
  update(updates, count, options, *state, clipping, context);
}

}  // namespace striate::cpu
#endif
