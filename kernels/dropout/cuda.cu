// A map (kernels/gpu/map.h) whose masks are drawn where they are used: an evaluation of Philox for four of the
// elements that a thread has at once. Bound by memory, 8 bytes an element, against some 25 integer instructions.
#include "kernels/dropout/draw.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

// By comparison, since an array indexed at run time would lie in local memory.
__device__ __forceinline__ uint32_t word_of(const uint4& words, unsigned i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    dropout_kernel(const T* x, T* y, int64_t n, DropoutShape shape, float factor, const DropoutState* state_memory,
                   bool vectors) {
  const DropoutState state = *state_memory;
  const uint64_t base = shape.first_element(state);
  const float p = shape.p;
  const uint32_t layer = shape.layer;
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const uint64_t element = base + static_cast<uint64_t>(i);
    const unsigned first = static_cast<unsigned>(element % 4);
    const uint4 words = dropout::draw(state, layer, element / 4);
    uint32_t own[part.count];
    if constexpr (part.count == 1) {
      own[0] = word_of(words, first);
    } else if (first == 0) {
      own[0] = words.x, own[1] = words.y, own[2] = words.z, own[3] = words.w;
      if constexpr (part.count == 8) {
        const uint4 next = dropout::draw(state, layer, element / 4 + 1);
        own[4] = next.x, own[5] = next.y, own[6] = next.z, own[7] = next.w;
      }
    } else {
      // Only where (first_sample + first_row)·features is no multiple of 4: four neighbours in memory are then of two
      // blocks.
      uint4 from = words;
      for (unsigned four = 0; four < part.count; four += 4) {
        const uint4 next = dropout::draw(state, layer, element / 4 + four / 4 + 1);
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
__global__ void __launch_bounds__(gpu::kMapThreads)
    relu_dropout_backward_kernel(const T* y, const T* dy, T* dx, int64_t n, float scale, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const auto from = part.load(y + i);
    part = part.load(dy + i);
    for (int j = 0; j < part.count; ++j) part[j] = from[j] <= 0.0f ? 0.0f : scale * part[j];
    part.store(dx + i);
  });
}

template <typename T>
void apply(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context) {
  shape.check();
  const int64_t n = shape.size();
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(dropout_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n, shape,
              shape.scale(), state, vectors);
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

template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context) {
  shape.check();
  const int64_t n = shape.size();
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(y, dy, dx);
  gpu::launch(relu_dropout_backward_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, y,
              dy, dx, n, shape.scale(), vectors);
}

#define STRIATE_INSTANTIATE(T)                                                                         \
  template void dropout_forward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&);  \
  template void dropout_backward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&); \
  template void relu_dropout_backward<T>(const T*, const T*, T*, const DropoutShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
