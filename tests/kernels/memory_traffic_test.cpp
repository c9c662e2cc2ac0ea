// The requests of the memory-bound CUDA kernels, as the checking build (preset host-race) counts them.
#if defined(STRIATE_CHECKED_HOST)

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/gpu/host/checked/counters.h"
#include "kernels/image_batch/image_batch.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/pool2d/pool2d.h"
#include "tests/support/backend.h"
#include "tests/support/fill.h"

namespace striate::test {
namespace {

using gpu::host::checked::KernelCounters;

struct TrafficCase {
  std::string name;
  // A block may read what its neighbours read (a pool's borders, a norm's coefficients): this often at most, all blocks
  // together, for every byte that is needed.
  double reads;
  std::function<void(Context&)> run;

  friend void PrintTo(const TrafficCase& c, std::ostream* out) { *out << c.name; }
};

void pools(const Pool2dShape& s, Context& context) {
  const auto x = uniform<float>(s.x_size(), 1), dy = uniform<float>(s.y_size(), 2);
  Values<float> y(dy.size()), dx(x.size());
  Values<uint8_t> index(dy.size());
  cuda::max_pool2d_forward(x.data(), y.data(), index.data(), s, context);
  cuda::max_pool2d_backward(dy.data(), index.data(), dx.data(), s, context);
  cuda::avg_pool2d_forward(x.data(), y.data(), s, context);
  cuda::avg_pool2d_backward(dy.data(), dx.data(), s, context);
}

void adaptive_pools(const AdaptivePool2dShape& s, Context& context) {
  const auto x = uniform<float>(s.x_size(), 1), dy = uniform<float>(s.y_size(), 2);
  Values<float> y(dy.size()), dx(x.size());
  cuda::adaptive_avg_pool2d_forward(x.data(), y.data(), s, context);
  cuda::adaptive_avg_pool2d_backward(dy.data(), dx.data(), s, context);
}

void local_response_norm(const LocalResponseNormShape& s, Context& context) {
  const auto x = uniform<float>(s.rows * s.C, 1), dy = uniform<float>(s.rows * s.C, 2);
  Values<float> y(x.size()), dx(x.size());
  cuda::local_response_norm_forward(x.data(), y.data(), s, context);
  cuda::local_response_norm_backward(x.data(), dy.data(), dx.data(), s, context);
}

void batch_norm(const BatchNormShape& s, Context& context) {
  const auto x = uniform<float>(s.size(), 1), dy = uniform<float>(s.size(), 2);
  const auto gamma = uniform<float>(s.C, 3), beta = uniform<float>(s.C, 4);
  const auto channels = static_cast<size_t>(s.C);
  Values<float> y(x.size()), dx(x.size()), mean(channels), inv_std(channels), running_mean(channels);
  Values<float> running_var(channels, 1.0f), dgamma(channels), dbeta(channels);
  cuda::batch_norm_forward_train(x.data(), gamma.data(), beta.data(), y.data(), mean.data(), inv_std.data(),
                                 running_mean.data(), running_var.data(), s, context);
  cuda::batch_norm_forward_eval(x.data(), gamma.data(), beta.data(), running_mean.data(), running_var.data(), y.data(),
                                nullptr, s, context);
  for (const bool batch_statistics : {true, false}) {
    cuda::batch_norm_backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), dx.data(), dgamma.data(),
                              dbeta.data(), s, batch_statistics, Accumulate::no, context);
  }
}

// Every second one mirrored, brighter and erased. Windows that begin inside a sector touch one more in each row.
template <typename T>
void images(ImageBatchShape s, Context& context) {
  s.steps = 2;
  const auto pixels = small_integers<uint8_t>(s.N * s.slot_size(), 1, 0, 255);
  Values<ImagePlacement> placements;
  Values<LevelStep> steps;
  for (int32_t n = 0; n < s.N; ++n) {
    placements.push_back({s.slot_h, s.slot_w, 0, 0, n % 2, n % 2 == 0 ? 0 : s.steps});
    steps.push_back({.kind = LevelStepKind::brightness, .amount = {1.5f}});
    steps.push_back({.kind = LevelStepKind::erase, .bottom = 9, .right = 9});
  }
  Values<T> y(static_cast<size_t>(s.N * s.image_size()));
  cuda::image_batch(ImageBatch{pixels.data(), placements.data(), steps.data(), {.scale = {1, 1, 1}}, {}}, y.data(), s,
                    context);
}

const TrafficCase kCases[] = {
    {"pool_of_three", 3.05,
     [](Context& c) {
       pools({2, 27, 27, 96, 3, 3, 2, 2, 0, 0}, c);
     }},
    {"pool_of_two", 1.3,
     [](Context& c) {
       pools({2, 16, 16, 64, 2, 2, 2, 2, 0, 0}, c);
     }},
    {"padded_pool", 2.5,
     [](Context& c) {
       pools({1, 28, 28, 64, 3, 3, 2, 2, 1, 1}, c);
     }},
    {"adaptive_pool", 2.5,
     [](Context& c) {
       adaptive_pools({2, 6, 6, 256, 6, 6}, c);
     }},
    {"local_response_norm_96", 1.0,
     [](Context& c) {
       local_response_norm({729, 96}, c);
     }},
    {"local_response_norm_20", 1.0,
     [](Context& c) {
       local_response_norm({300, 20}, c);
     }},
    {"batch_norm_96", 1.05,
     [](Context& c) {
       batch_norm({3025, 96}, c);
     }},
    {"images", 1.05,
     [](Context& c) {
       images<float>({4, 64, 64, 64, 64, 3}, c);
     }},
    {"grey_images_to_bfloat16", 1.05,
     [](Context& c) {
       images<bfloat16>({4, 64, 64, 64, 64, 1}, c);
     }},
    {"batch_norm_512", 1.05,
     [](Context& c) {
       batch_norm({338, 512}, c);
     }},
};

class MemoryTraffic : public testing::TestWithParam<TrafficCase> {};

TEST_P(MemoryTraffic, IsWhatTheTensorsNeed) {
  TestContext context;
  {
    const gpu::host::checked::Counting counting;
    GetParam().run(context);
  }
  const auto kernels = gpu::host::checked::counted_kernels();
  ASSERT_FALSE(kernels.empty());
  for (const std::string& name : kernels) {
    SCOPED_TRACE(name);
    const KernelCounters k = gpu::host::checked::counters(name);
    const auto at_most = [](uint64_t found, double factor, uint64_t ideal) {
      EXPECT_LE(static_cast<double>(found), factor * static_cast<double>(ideal));
    };
    ASSERT_GT(k.global_read.requests, 0u);
    ASSERT_GT(k.global_write.requests, 0u);
    at_most(k.global_read.sectors, 1.05, k.global_read.ideal_sectors);
    at_most(k.global_write.sectors, 1.05, k.global_write.ideal_sectors);
    at_most(k.global_read.block_bytes, GetParam().reads, k.global_read.launch_bytes);
    EXPECT_EQ(k.global_write.bytes, k.global_write.launch_bytes);  // each byte once
    at_most(k.shared_read.wavefronts, 1.1, k.shared_read.ideal_wavefronts);
    at_most(k.shared_write.wavefronts, 1.1, k.shared_write.ideal_wavefronts);
  }
}

INSTANTIATE_TEST_SUITE_P(, MemoryTraffic, testing::ValuesIn(kCases), [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace striate::test

#endif
