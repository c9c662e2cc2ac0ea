// A map (kernels/gpu/map.h) whose masks are drawn where they are used: an evaluation of Philox for four of the
// elements that a thread has at once. Bound by memory, 8 bytes an element, against some 25 integer instructions.
#include "kernels/dropout/dropout.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

// The four draws of a block as words, by dropout_uniform()'s counter and key.
__device__ __forceinline__ uint4 draw(const DropoutState& state, uint32_t layer, uint64_t block) {
  const auto words = philox4x32(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(state.step), layer},
      {static_cast<uint32_t>(state.seed),
       static_cast<uint32_t>(state.seed >> 32) ^ static_cast<uint32_t>(state.step >> 32)});
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// By comparison, since an array indexed at run time would lie in local memory.
__device__ __forceinline__ uint32_t word_of(const uint4& words, unsigned i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    dropout_kernel(const T* x, T* y, int64_t n, uint64_t features, float p, uint32_t layer, float factor,
                   const DropoutState* state_memory, bool vectors) {
  const DropoutState state = *state_memory;
  const uint64_t base = state.first_sample * features;
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const uint64_t element = base + static_cast<uint64_t>(i);
    const unsigned first = static_cast<unsigned>(element % 4);
    const uint4 words = draw(state, layer, element / 4);
    uint32_t own[part.count];
    if constexpr (part.count == 1) {
      own[0] = word_of(words, first);
    } else if (first == 0) {
      own[0] = words.x, own[1] = words.y, own[2] = words.z, own[3] = words.w;
      if constexpr (part.count == 8) {
        const uint4 next = draw(state, layer, element / 4 + 1);
        own[4] = next.x, own[5] = next.y, own[6] = next.z, own[7] = next.w;
      }
    } else {
      // Only where first_sample·features is no multiple of 4: four neighbours in memory are then of two blocks.
      uint4 from = words;
      for (unsigned four = 0; four < part.count; four += 4) {
        const uint4 next = draw(state, layer, element / 4 + four / 4 + 1);
        for (unsigned j = 0; j < 4; ++j) {
          own[four + j] = first + j < 4 ? word_of(from, first + j) : word_of(next, first + j - 4);
        }
        from = next;
      }
    }
    part = part.load(x + i);
    for (int j = 0; j < part.count; ++j) {
      part[j] = uniform_from_word(own[j]) >= p ? factor * part[j] : 0.0f;
    }
    part.store(y + i);
  });
}

template <typename T>
void apply(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context) {
  shape.check();
  const int64_t n = shape.size();
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(dropout_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n,
              static_cast<uint64_t>(shape.features), shape.p, shape.layer,
              static_cast<float>(1.0 / (1.0 - double{shape.p})), state, vectors);
}

}  // namespace

template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context) {
  apply(x, y, shape, state, context);
}

template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context& context) {
  apply(dy, dx, shape, state, context);
}

#define STRIATE_INSTANTIATE(T)                                                                        \
  template void dropout_forward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&); \
  template void dropout_backward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
