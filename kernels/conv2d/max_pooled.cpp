// Slices of one or a few images. A thread convolves a slice into memory of its own, which stays in its cache, and pools
// it from there; the weights are packed once, before. The slices that do not go round all threads are convolved by all
// of them together, into that same memory, as is a batch of few pixels.
#include "kernels/conv2d/max_pooled.h"

#include <algorithm>
#include <atomic>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/forward_product.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/error.h"
#include "kernels/gemm/blocking.h"
#include "kernels/pool2d/pool2d.h"

namespace striate::cpu {

namespace {

using gemm::ceil_div;
using gemm::round_up;

constexpr int64_t kSlicePixels = 448;
constexpr int64_t kFewestRounds = 2;  // slices of a thread: the output of fewer is in the caches anyway

/// A part of a workspace, for a kernel that is called by another.
class Borrowed : public Workspace {
 public:
  Borrowed(float* memory, int64_t floats) : memory_(memory), bytes_(static_cast<size_t>(floats) * sizeof(float)) {}
  void* reserve(size_t bytes) override {
    require<Error>(bytes <= bytes_, "conv2d_max_pool: a slice asked for {} bytes of scratch memory and has {}", bytes,
                   bytes_);
    return memory_;
  }

 private:
  float* memory_;
  size_t bytes_;
};

/// Floats that hold `count` values, and whole cache lines.
template <typename T>
int64_t floats_for(int64_t count) {
  return round_up(ceil_div(count * static_cast<int64_t>(sizeof(T)), sizeof(float)), 16);
}

/// A convolution by weights packed once, of any of its slices.
template <typename T>
class Slices {
 public:
  Slices(const T* x, const T* w, const Parameter<T>* b, const Conv2dShape& shape, Activation activation)
      : x_(x), w_(w), b_(b), shape_(shape), activation_(activation), winograd_(winograd_choice<T>(shape).forward) {}

  /// Whether slices have the bits of the whole, and are as fast.
  bool pay(const Context& context) const {
    if (ceil_div(shape_.N, images()) < kFewestRounds * context.threads->size()) return false;
    return winograd_ ? winograd::forward_by_tiles(shape_, context)
                     : shape_.N * shape_.P() * shape_.Q() > gemm::kFewRows;
  }
  /// Of a slice: pixels enough to spread a panel of the weights over.
  int64_t images() const {
    const int64_t enough = ceil_div(kSlicePixels, shape_.P() * shape_.Q());
    return winograd_ ? round_up(enough, winograd::mosaic_images(shape_)) : enough;
  }
  int64_t packed_floats(const Context& context) const {
    return winograd_ ? winograd::packed_floats<T>(shape_) : gemm::packed_floats(product(0, 1, nullptr), context);
  }
  int64_t scratch_floats(int64_t count, const Context& context) const {
    return winograd_ ? winograd::scratch_floats<T>(shape_, count, context)
                     : gemm::scratch_floats(product(0, count, nullptr), context);
  }
  void pack(float* to, Context& context) const {
    winograd_ ? winograd::pack(w_, shape_, to, context) : gemm::pack(product(0, 1, nullptr), to, context);
  }
  void convolve(int64_t first, int64_t count, const float* packed, T* y, Context& context) const {
    if (winograd_) {
      return winograd::forward_packed(input(first), packed, b_, y, shape_, count, activation_, context);
    }
    gemm::Product<T> slice = product(first, count, y);
    slice.packed = packed;
    gemm::multiply(slice, context);
  }

 private:
  const T* input(int64_t image) const { return x_ + image * shape_.H * shape_.W * shape_.C; }
  gemm::Product<T> product(int64_t first, int64_t count, T* y) const {
    Conv2dShape part = shape_;
    part.N = count;
    return forward_product(input(first), w_, b_, y, part, activation_);
  }

  const T* x_;
  const T* w_;
  const Parameter<T>* b_;
  Conv2dShape shape_;
  Activation activation_;
  bool winograd_;
};

}  // namespace

template <typename T>
void conv2d_max_pool_forward(const T* x, const T* w, const Parameter<T>* b, T* y, uint8_t* index,
                             const Conv2dShape& conv, const Pool2dShape& pool, Activation activation,
                             Context& context) {
  conv.check();
  pool.check();
  require<ShapeError>(pool.N == conv.N && pool.H == conv.P() && pool.W == conv.Q() && pool.C == conv.K,
                      "conv2d_max_pool: {} gives [{},{},{},{}], and the pool takes {}", conv.to_string(), conv.N,
                      conv.P(), conv.Q(), conv.K, pool.to_string());
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a convolution; apply others after it",
                      conv.to_string());
  if (conv.N == 0) return;
  const int64_t threads = context.threads->size();
  const int64_t image = conv.P() * conv.Q() * conv.K, pooled = pool.P() * pool.Q() * pool.C;
  const auto pool_images = [&](int64_t first, int64_t count, const T* from, Context& own) {
    Pool2dShape part = pool;
    part.N = count;
    max_pool2d_forward(from, y + first * pooled, index + first * pooled, part, own);
  };

  const Slices<T> slices(x, w, b, as_product(conv), activation);
  require<ShapeError>(slices.pay(context), "{}: too few images to be pooled slice by slice; convolve, then pool",
                      conv.to_string());
  static ThreadPool one_thread(1);
  Context alone = context;  // of a slice that one thread convolves and pools: within a task loops run inline
  alone.threads = &one_thread;
  const int64_t images = slices.images(), rounds = ceil_div(conv.N, images) / threads;
  const int64_t first_together = std::min(conv.N, rounds * threads * images), together = conv.N - first_together;

  const int64_t slot = floats_for<T>(images * image), packed_floats = slices.packed_floats(context);
  const int64_t last = first_together - (rounds * threads - 1) * images;  // of a thread's slices: it may be smaller
  const int64_t own = std::max(slices.scratch_floats(images, alone), slices.scratch_floats(last, alone));
  const int64_t scratch = std::max(threads * own, slices.scratch_floats(together > 0 ? together : images, context));
  float* const packed = context.workspace->get<float>(packed_floats + threads * slot + scratch);
  float* const convolved = packed + packed_floats;
  float* const scratch_of_all = convolved + threads * slot;

  Borrowed shared(scratch_of_all, scratch);
  Context all = context;
  all.workspace = &shared;
  slices.pack(packed, all);
  std::atomic<int64_t> next{0};
  context.threads->run(threads, [&](int64_t worker) {
    T* const output = reinterpret_cast<T*>(convolved + worker * slot);
    Borrowed workspace(scratch_of_all + worker * own, own);
    Context mine = alone;
    mine.workspace = &workspace;
    for (int64_t slice = next.fetch_add(1); slice < rounds * threads; slice = next.fetch_add(1)) {
      const int64_t first = slice * images, count = std::min(images, first_together - first);
      slices.convolve(first, count, packed, output, mine);
      pool_images(first, count, output, mine);
    }
  });
  if (together > 0) {
    T* const output = reinterpret_cast<T*>(convolved);
    slices.convolve(first_together, together, packed, output, all);
    pool_images(first_together, together, output, all);
  }
}

template <typename T>
bool conv2d_max_pool_pays(const Conv2dShape& conv, const Context& context) {
  return conv.N > 0 && Slices<T>(nullptr, nullptr, nullptr, as_product(conv), Activation::none).pay(context);
}

#define STRIATE_INSTANTIATE(T)                                                                              \
  template void conv2d_max_pool_forward(const T*, const T*, const float*, T*, uint8_t*, const Conv2dShape&, \
                                        const Pool2dShape&, Activation, Context&);                          \
  template bool conv2d_max_pool_pays<T>(const Conv2dShape&, const Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
