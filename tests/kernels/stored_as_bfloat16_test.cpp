// The memory-bound ops with activations and gradients in bfloat16: on each device bit for bit what its kernel of floats
// gives from the same values, rounded once where it is stored; and within one rounding of the reference.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/bfloat16.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

template <typename T>
struct Ops {
  using Type = T;
  decltype(&cpu::fill<T>) fill;
  decltype(&cpu::scale<T>) scale;
  decltype(&cpu::add<T>) add;
  decltype(&cpu::accumulate<T>) accumulate;
  decltype(&cpu::activation_forward<T>) activation_forward;
  decltype(&cpu::activation_backward<T>) activation_backward;
  decltype(&cpu::dropout_forward<T>) dropout_forward;
  decltype(&cpu::dropout_backward<T>) dropout_backward;
  decltype(&cpu::max_pool2d_forward<T>) max_forward;
  decltype(&cpu::max_pool2d_backward<T>) max_backward;
  decltype(&cpu::avg_pool2d_forward<T>) avg_forward;
  decltype(&cpu::avg_pool2d_backward<T>) avg_backward;
  decltype(&cpu::adaptive_avg_pool2d_forward<T>) adaptive_forward;
  decltype(&cpu::adaptive_avg_pool2d_backward<T>) adaptive_backward;
  decltype(&cpu::softmax_forward<T>) softmax;
  decltype(&cpu::softmax_cross_entropy_forward<T>) loss_forward;
  decltype(&cpu::softmax_cross_entropy_backward<T>) loss_backward;
  decltype(&cpu::batch_norm_forward_train<T>) batch_norm_train;
  decltype(&cpu::batch_norm_forward_eval<T>) batch_norm_eval;
  decltype(&cpu::batch_norm_backward<T>) batch_norm_backward;
  decltype(&cpu::local_response_norm_forward<T>) lrn_forward;
  decltype(&cpu::local_response_norm_backward<T>) lrn_backward;
};

#define STRIATE_OPS(space)                                                                                           \
  {                                                                                                                  \
    space::fill, space::scale, space::add, space::accumulate, space::activation_forward, space::activation_backward, \
        space::dropout_forward, space::dropout_backward, space::max_pool2d_forward, space::max_pool2d_backward,      \
        space::avg_pool2d_forward, space::avg_pool2d_backward, space::adaptive_avg_pool2d_forward,                   \
        space::adaptive_avg_pool2d_backward, space::softmax_forward, space::softmax_cross_entropy_forward,           \
        space::softmax_cross_entropy_backward, space::batch_norm_forward_train, space::batch_norm_forward_eval,      \
        space::batch_norm_backward, space::local_response_norm_forward, space::local_response_norm_backward          \
  }
template <typename T>
constexpr Ops<T> kReference = STRIATE_OPS(reference);
template <typename T>
constexpr BackendTable<Ops<T>> kOps = {.cpu = STRIATE_OPS(cpu), .cuda = STRIATE_OPS(cuda)};
#undef STRIATE_OPS

// The same values for every type: bfloat16's.
template <typename T>
Values<T> inputs(int64_t count, uint32_t seed, double low = -1.0, double high = 1.0) {
  Values<T> result;
  for (const bfloat16 v : uniform<bfloat16>(count, seed, low, high)) result.push_back(stored_as<T>(to_float(v)));
  return result;
}

// What was found, as bfloat16 has it: in one sequence, since every output counts.
class Found {
 public:
  template <typename T>
  void take(const GuardedBuffer<T>& buffer) {
    EXPECT_TRUE(buffer.intact());
    for (int64_t i = 0; i < buffer.size(); ++i) values_.push_back(to_bfloat16(static_cast<float>(to_float(buffer[i]))));
  }
  void take_integers(const auto& buffer) {
    EXPECT_TRUE(buffer.intact());
    for (int64_t i = 0; i < buffer.size(); ++i) values_.push_back(to_bfloat16(static_cast<float>(buffer[i])));
  }
  const Values<bfloat16>& values() const { return values_; }

 private:
  Values<bfloat16> values_;
};

// One rounding to 8 bits, twice where the float that is rounded lies at the middle; sums lose a little before it.
constexpr Tolerance kOneRounding{1e-5, 0x1.1p-7};

class StoredAsBfloat16 : public BackendTest<Backend> {
 protected:
  // `run` maps Ops<T> to Found.
  template <typename Run>
  void expect_rounded_floats(Run&& run, Tolerance tolerance, const std::string& what) {
    const Found half = run(kOps<bfloat16>[backend()]), whole = run(kOps<float>[backend()]);
    EXPECT_TRUE(all_equal(half.values(), whole.values())) << what;
    EXPECT_TRUE(all_close(half.values(), run(kReference<bfloat16>).values(), tolerance)) << what;
  }
  TestContext context_;
};

// Round every vector's length, of 4 to 16 floats and 8 bfloat16.
constexpr int64_t kLengths[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 67, 2051};

TEST_P(StoredAsBfloat16, Maps) {
  for (const int64_t n : kLengths) {
    for (const int64_t offset : {0, 1}) {  // 1: addresses that no vector fits
      expect_rounded_floats(
          [&]<typename T>(const Ops<T>& ops) {
            const auto a = inputs<T>(n + offset, 1, -4.0, 4.0), b = inputs<T>(n + offset, 2);
            Found found;
            GuardedBuffer<T> y(n + offset, T{});
            const auto take = [&] { found.take(y); };
            ops.fill(y.data() + offset, 0.3f, n, context_), take();
            ops.scale(a.data() + offset, y.data() + offset, 0.7f, n, context_), take();
            GuardedBuffer<T> total(a);  // not y, which may hold what bfloat16 does not
            ops.accumulate(b.data() + offset, total.data() + offset, n, context_);
            found.take(total);
            for (const Activation f : {Activation::none, Activation::relu}) {
              ops.add(a.data() + offset, b.data() + offset, y.data() + offset, n, f, context_), take();
            }
            for (const Activation f :
                 {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::silu}) {
              ops.activation_forward(f, a.data() + offset, y.data() + offset, n, context_), take();
              ops.activation_backward(f, a.data() + offset, b.data() + offset, y.data() + offset, n, context_), take();
            }
            GuardedBuffer<T> in_place(a);
            ops.activation_forward(Activation::relu, in_place.data() + offset, in_place.data() + offset, n, context_);
            found.take(in_place);
            return found;
          },
          kOneRounding, std::to_string(n) + " from " + std::to_string(offset));
    }
  }
}

TEST_P(StoredAsBfloat16, DropsTheSame) {
  for (const int64_t features : {1, 3, 8, 37, 300}) {
    for (const uint64_t first : {0, 3}) {
      const DropoutShape shape{5, features, 0.3f, 2};
      const Values<DropoutState> state{{0xfedcba9876543210, 0x123456789abcdef0, first}};
      expect_rounded_floats(
          [&]<typename T>(const Ops<T>& ops) {
            const auto x = inputs<T>(shape.size(), 1, 1.0, 2.0);
            Found found;
            GuardedBuffer<T> y(shape.size()), dx(x);
            ops.dropout_forward(x.data(), y.data(), shape, state.data(), context_);
            ops.dropout_backward(dx.data(), dx.data(), shape, state.data(), context_);
            found.take(y);
            found.take(dx);
            return found;
          },
          {0.0, 0x1.1p-7}, std::to_string(features));
    }
  }
}

TEST_P(StoredAsBfloat16, Pools) {
  for (const int64_t C : {1, 3, 4, 8, 12, 16, 24, 67}) {
    for (const Pool2dShape& s :
         {Pool2dShape{2, 7, 6, C, 3, 3, 2, 2, 0, 0}, Pool2dShape{1, 6, 5, C, 2, 3, 2, 1, 1, 1},
          Pool2dShape{2, 5, 7, C, 2, 2, 2, 2, 0, 0}, Pool2dShape{2, 6, 6, C, 3, 3, 2, 2, 0, 0, true}}) {
      expect_rounded_floats(
          [&]<typename T>(const Ops<T>& ops) {
            auto x = inputs<T>(s.x_size(), 1);
            const auto image = x, dy = inputs<T>(s.y_size(), 2);
            for (size_t i = 5; i < x.size(); i += 13) x[i] = stored_as<T>(NAN);
            Found found;
            GuardedBuffer<T> y(s.y_size()), average(s.y_size()), dx(s.x_size()), average_dx(s.x_size());
            GuardedBuffer<uint8_t> index(s.y_size());
            ops.max_forward(x.data(), y.data(), index.data(), s, context_);
            ops.max_backward(dy.data(), index.data(), dx.data(), s, context_);
            ops.avg_forward(image.data(), average.data(), s, context_);
            ops.avg_backward(dy.data(), average_dx.data(), s, context_);
            for (const auto* out : {&y, &average, &dx, &average_dx}) found.take(*out);
            found.take_integers(index);
            return found;
          },
          kOneRounding, s.to_string());
    }
    const AdaptivePool2dShape cells{2, 7, 5, C, 3, 4};
    expect_rounded_floats(
        [&]<typename T>(const Ops<T>& ops) {
          const auto x = inputs<T>(cells.x_size(), 4), dy = inputs<T>(cells.y_size(), 5);
          Found found;
          GuardedBuffer<T> y(cells.y_size()), dx(cells.x_size());
          ops.adaptive_forward(x.data(), y.data(), cells, context_);
          ops.adaptive_backward(dy.data(), dx.data(), cells, context_);
          found.take(y);
          found.take(dx);
          return found;
        },
        kOneRounding, cells.to_string());
  }
}

TEST_P(StoredAsBfloat16, ReducesTheLoss) {
  for (const int64_t classes : {1, 3, 8, 10, 67, 1000, 9001}) {
    const int64_t rows = classes > 1000 ? 1 : 3;
    const SoftmaxCrossEntropyShape shape{rows, classes, 0.1f};
    const auto label = small_integers<int32_t>(rows, 2, 0, classes - 1);
    const Values<float> dloss{0.7f};
    expect_rounded_floats(
        [&]<typename T>(const Ops<T>& ops) {
          const auto x = inputs<T>(rows * classes, 1, -5.0, 5.0);
          Found found;
          GuardedBuffer<float> loss(1), sample(rows), max(rows), log_sum(rows);
          GuardedBuffer<T> dx(rows * classes), p(x);
          GuardedBuffer<int32_t> rank(rows);
          ops.loss_forward(x.data(), label.data(), loss.data(), sample.data(), max.data(), log_sum.data(), rank.data(),
                           nullptr, shape, context_);
          ops.loss_backward(x.data(), label.data(), max.data(), log_sum.data(), dloss.data(), dx.data(), shape,
                            context_);
          ops.softmax(p.data(), p.data(), rows, classes, context_);
          for (const auto* out : {&loss, &sample, &max, &log_sum}) found.take(*out);
          found.take(dx);
          found.take(p);
          found.take_integers(rank);
          return found;
        },
        kOneRounding, std::to_string(classes));
  }
}

TEST_P(StoredAsBfloat16, NormalizesOverTheBatch) {
  for (const int64_t C : {1, 3, 4, 8, 16, 67}) {
    const BatchNormShape s{61, C};
    const auto gamma = uniform<float>(C, 3, 0.5, 2.0), beta = uniform<float>(C, 4);
    expect_rounded_floats(
        [&]<typename T>(const Ops<T>& ops) {
          const auto x = inputs<T>(s.size(), 1, -2.0, 4.0), dy = inputs<T>(s.size(), 2);
          Found found;
          GuardedBuffer<T> y(s.size()), evaluated(s.size()), dx(s.size());
          GuardedBuffer<float> mean(C), inv_std(C), running_mean(C, 0.5f), running_var(C, 2.0f), dgamma(C), dbeta(C);
          ops.batch_norm_train(x.data(), gamma.data(), beta.data(), y.data(), mean.data(), inv_std.data(),
                               running_mean.data(), running_var.data(), s, context_);
          ops.batch_norm_backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), dx.data(),
                                  dgamma.data(), dbeta.data(), s, true, Accumulate::no, context_);
          ops.batch_norm_eval(x.data(), gamma.data(), beta.data(), running_mean.data(), running_var.data(),
                              evaluated.data(), nullptr, s, context_);
          for (const auto* out : {&y, &evaluated, &dx}) found.take(*out);
          for (const auto* out : {&mean, &inv_std, &running_mean, &running_var, &dgamma, &dbeta}) found.take(*out);
          return found;
        },
        kOneRounding, std::to_string(C));
  }
}

TEST_P(StoredAsBfloat16, NormalizesAcrossChannels) {
  for (const int64_t C : {1, 3, 4, 8, 20, 67, 1031}) {
    const LocalResponseNormShape s{C > 1000 ? 2 : 19, C, 5, 2.0f, 0.5f, 0.75f};
    expect_rounded_floats(
        [&]<typename T>(const Ops<T>& ops) {
          const auto x = inputs<T>(s.rows * C, 1, -3.0, 3.0), dy = inputs<T>(s.rows * C, 2);
          Found found;
          GuardedBuffer<T> y(s.rows * C), dx(s.rows * C);
          ops.lrn_forward(x.data(), y.data(), s, context_);
          ops.lrn_backward(x.data(), dy.data(), dx.data(), s, context_);
          found.take(y);
          found.take(dx);
          return found;
        },
        kOneRounding, std::to_string(C));
  }
}

struct Updates {
  decltype(&cpu::sgd_update) sgd;
  decltype(&cpu::adam_update) adam;
  decltype(&cpu::rmsprop_update) rmsprop;
};
constexpr BackendTable<Updates> kUpdates = {.cpu = {&cpu::sgd_update, &cpu::adam_update, &cpu::rmsprop_update},
                                            .cuda = {&cuda::sgd_update, &cuda::adam_update, &cuda::rmsprop_update}};

// Every method, three steps: the copy is the new weights rounded, and the weights are the same bits as without it.
TEST_P(StoredAsBfloat16, UpdatesRoundTheWeightsInTheSamePass) {
  const Values<UpdateState> state{{0.1f, 0.5f, 2}};
  for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{64}, int64_t{4099}}) {
    for (const int64_t offset : {0, 1}) {
      const auto w = uniform<float>(n, 1), g = uniform<float>(n, 2), s = uniform<float>(n, 3, 0.1, 1.0);
      const auto run = [&](int method, bfloat16* rounded) {
        GuardedBuffer<float> weights(w), s1(s), s2(s);
        const ParameterUpdate<float> update{weights.data(), g.data(), s1.data(), s2.data(), n, 0.01f, rounded};
        const Updates& updates = kUpdates[backend()];
        for (int step = 0; step < 3; ++step) {
          if (method == 0) updates.sgd(&update, 1, {0.9f, false, false}, state.data(), {}, context_);
          if (method == 1) updates.sgd(&update, 1, {0.9f, false, true}, state.data(), {}, context_);
          if (method == 2) updates.adam(&update, 1, {}, state.data(), {}, context_);
          if (method == 3) updates.rmsprop(&update, 1, {0.9f, 1e-8f, 0.5f}, state.data(), {}, context_);
        }
        EXPECT_TRUE(weights.intact());
        return weights.values();
      };
      for (int method = 0; method < 4; ++method) {
        GuardedBuffer<bfloat16> rounded(n + offset, bfloat16{});
        const auto found = run(method, rounded.data() + offset);
        EXPECT_TRUE(all_equal(found, run(method, nullptr))) << method;
        for (int64_t i = 0; i < n; ++i) {
          ASSERT_EQ(rounded[i + offset].bits, to_bfloat16(found[static_cast<size_t>(i)]).bits) << method << " at " << i;
        }
        EXPECT_TRUE(rounded.intact());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, StoredAsBfloat16, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
