#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "engine/distributed/gradient_reduction.h"
#include "engine/distributed/sharding.h"
#include "engine/train/batch_loss.h"
#include "models/one_weird_trick.h"
#include "tests/engine/train_toy.h"
#include "tests/ranks/parts.h"
#include "tests/ranks/ranks.h"

namespace striate {
namespace {

using test::CallbackObserver;
using test::PartOfSource;
using test::ranks;
using test::ToySource;

struct Case {
  int64_t samples = 60, batch_size = 12;
  int64_t accumulate = 1;
  double clip = 0.0;
  int64_t bucket_bytes = 1 << 20;
  WireType reduce = WireType::float32;
  Device device = Device::cpu;
  bool batch_norm = false;  ///< synchronised
  Scheme scheme = Scheme::data;
  int64_t rounds = 0;
};

struct Begun : TrainObserver {
  RunInfo info;
  void run_begins(const RunInfo& told) override { info = told; }
};

struct Outcome {
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  std::vector<std::vector<float>> weights;
  int64_t parameters = 0;
};

/// Of layers that treat each image by itself, but for batch norm.
std::shared_ptr<nn::Sequential> network(Device device, bool batch_norm) {
  auto net = std::make_shared<nn::Sequential>();
  net->add(std::make_shared<nn::Conv2d>(1, 4, 3, 1, 1));
  if (batch_norm) net->add(std::make_shared<nn::BatchNorm2d>(4));
  for (const nn::ModulePtr& layer : std::vector<nn::ModulePtr>{
           std::make_shared<nn::ActivationLayer>(Activation::relu), std::make_shared<nn::Flatten>(),
           std::make_shared<nn::Dropout>(0.25f), std::make_shared<nn::Linear>(64, 16),
           std::make_shared<nn::ActivationLayer>(Activation::relu), std::make_shared<nn::Dropout>(0.25f),
           std::make_shared<nn::Linear>(16, ToySource::kClasses)}) {
    net->add(layer);
  }
  nn::initialize(*net, {}, 1);
  net->to(device);
  return net;
}

/// By all ranks together, or by this one alone.
Outcome train(const Case& c, bool together) {
  const auto net = network(c.device, c.batch_norm);
  const Ranks all = test::ranks_on(c.device);
  const auto source = [&](int64_t samples, uint64_t seed) -> std::unique_ptr<BatchSource> {
    auto whole = std::make_unique<ToySource>(samples, c.batch_size, seed);
    if (!together) return whole;
    return std::make_unique<PartOfSource>(std::move(whole), ranks().rank(), ranks().size());
  };
  const auto train_source = source(c.samples, 5), val_source = source(31, 6);
  TrainOptions options = test::quick_options();
  options.batch_size = c.batch_size;
  options.accumulate = c.accumulate;
  options.clip_grad_norm = c.clip;
  options.epochs = 4;
  options.optimizer.weight_decay = 1e-3;
  options.optimizer.momentum = 0.9;
  options.distributed.scheme = c.scheme;
  options.distributed.rounds = c.rounds;
  options.distributed.bucket_bytes = c.bucket_bytes;
  options.distributed.reduce = c.reduce;
  options.distributed.sync_batch_norm = c.batch_norm;
  std::shared_ptr<nn::Module> trained = net;
  if (together && several(all) && c.scheme == Scheme::one_weird_trick) {
    trained = std::make_shared<models::OneWeirdTrick>(net, all, options.distributed);
  }
  Trainer trainer(*trained, {train_source.get(), val_source.get()}, options, together ? all : Ranks{});
  CallbackObserver observer;
  trainer.add_observer(observer);
  Begun begun;
  trainer.add_observer(begun);
  trainer.run();
  Outcome outcome{observer.steps, observer.epochs, {}, begun.info.parameters};
  const std::vector<NamedTensor> parameters = whole_tensors(trained->named_parameters(), trained->named_shards(), all);
  for (const NamedTensor& p : parameters) outcome.weights.push_back(p.tensor.to_vector<float>());
  return outcome;
}

/// On every rank.
double largest_difference(const Outcome& a, const Outcome& b) {
  double difference = 0.0, largest = 0.0;
  for (size_t p = 0; p < a.weights.size(); ++p) {
    for (size_t i = 0; i < a.weights[p].size(); ++i) {
      difference = std::max<double>(difference, std::abs(a.weights[p][i] - b.weights[p][i]));
      largest = std::max<double>(largest, std::abs(b.weights[p][i]));
    }
  }
  return ranks().gathered(difference / largest).front();  // who has the weights
}

void expect_followed(const Outcome& together, const Outcome& alone, double tolerance) {
  EXPECT_EQ(together.parameters, alone.parameters);
  ASSERT_EQ(together.steps.size(), alone.steps.size());
  for (size_t s = 0; s < alone.steps.size(); ++s) {
    EXPECT_NEAR(together.steps[s].loss, alone.steps[s].loss, tolerance * alone.steps[s].loss) << "step " << s;
    EXPECT_EQ(together.steps[s].images, alone.steps[s].images) << "step " << s;
  }
  ASSERT_EQ(together.epochs.size(), alone.epochs.size());
  for (size_t e = 0; e < alone.epochs.size(); ++e) {
    EXPECT_NEAR(together.epochs[e].val_loss, alone.epochs[e].val_loss, tolerance * alone.epochs[e].val_loss);
    EXPECT_EQ(together.epochs[e].val_top1, alone.epochs[e].val_top1);
  }
  EXPECT_LE(largest_difference(together, alone), tolerance);
}

class SeveralRanks : public testing::TestWithParam<std::pair<const char*, Case>> {};

TEST_P(SeveralRanks, FollowsOneProcessOnWholeBatches) {
  const Case& c = GetParam().second;
  expect_followed(train(c, true), train(c, false), 1e-5);
}

TEST_P(SeveralRanks, GivesTheSameBitsEveryTimeAndOnEveryRank) {
  const Case& c = GetParam().second;
  const Outcome first = train(c, true), second = train(c, true);
  EXPECT_EQ(first.weights, second.weights);
  const double loss = first.epochs.back().val_loss;
  for (const double other : ranks().gathered(loss)) EXPECT_EQ(other, loss);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SeveralRanks,
    testing::Values(std::pair{"plain", Case{}}, std::pair{"a_bucket_a_parameter", Case{.bucket_bytes = 1}},
                    std::pair{"batch_and_last_batch_not_divisible", Case{.samples = 57, .batch_size = 13}},
                    std::pair{"fewer_images_than_ranks", Case{.samples = 25, .batch_size = 8}},
                    std::pair{"accumulated", Case{.samples = 58, .batch_size = 8, .accumulate = 3}},
                    std::pair{"batch_norm", Case{.batch_norm = true}},
                    std::pair{"batch_norm_with_fewer_images_than_ranks",
                              Case{.samples = 25, .batch_size = 8, .accumulate = 2, .batch_norm = true}},
                    std::pair{"clipped", Case{.clip = 0.2}}, std::pair{"reference", Case{.device = Device::reference}},
                    std::pair{"cuda", Case{.samples = 25, .device = Device::cuda}},
                    std::pair{"one_weird_trick", Case{.scheme = Scheme::one_weird_trick}},
                    std::pair{"one_weird_trick_in_one_round", Case{.scheme = Scheme::one_weird_trick, .rounds = 1}},
                    std::pair{"one_weird_trick_not_divisible",
                              Case{.samples = 25, .batch_size = 8, .scheme = Scheme::one_weird_trick, .rounds = 1}},
                    std::pair{"one_weird_trick_accumulated_and_clipped", Case{.samples = 58,
                                                                              .batch_size = 8,
                                                                              .accumulate = 3,
                                                                              .clip = 0.2,
                                                                              .scheme = Scheme::one_weird_trick,
                                                                              .rounds = 1}}),
    [](const auto& tested) { return tested.param.first; });

TEST(DataParallelInBfloat16, StaysNearOneProcess) {
  Case c;
  c.reduce = WireType::bfloat16;
  const Outcome together = train(c, true), alone = train(c, false);
  // Each of 20 steps adds gradients with relative errors of 2^-8.
  EXPECT_LE(largest_difference(together, alone), 0.02);
  if (ranks().size() > 1) {
    EXPECT_GT(largest_difference(together, alone), 1e-6);
  }
}

TEST(GradientReduction, SendsWhatItsFormulaSaysOnceAStep) {
  const auto net = network(Device::cpu, false);
  std::vector<NamedTensor> parameters = net->named_parameters();
  const Ranks all{&ranks(), &ranks()};
  GradientReduction reduction(parameters, all, {});
  ASSERT_EQ(reduction.buckets(), 1);
  int64_t values = 0;
  for (const NamedTensor& p : parameters) values += (p.tensor.size() + 63) / 64 * 64;
  const int64_t before = ranks().bytes_sent(), K = ranks().size();
  reduction.finish();
  EXPECT_EQ(ranks().bytes_sent() - before, 2 * values * (K - 1) / K * 4);
}

TEST(GradientReduction, IsUnderWayWhileTheBackwardGoesOn) {
  const auto net = network(Device::cpu, false);
  const Ranks all{&ranks(), &ranks()};
  GradientReduction reduction(net->named_parameters(), all, {.bucket_bytes = 1});
  ASSERT_EQ(reduction.buckets(), 6);
  ToySource source(8, 8, 1);
  Batch batch;
  source.start(0);
  ASSERT_TRUE(source.next(batch));
  {
    const GradientReduction::Overlap overlap(reduction);
    const Tensor logits = (*net)(batch.images);
    batch_loss(logits, batch, 0.0f).loss.backward();
  }
  reduction.finish();
  EXPECT_EQ(reduction.overlapped(), 6);
}

}  // namespace
}  // namespace striate
