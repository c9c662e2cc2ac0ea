#include "models/one_weird_trick.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/config.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/step_state.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/engine/precision.h"
#include "tests/models/random_tensor.h"
#include "tests/ranks/ranks.h"
#include "tests/support/error.h"

namespace striate::models {
namespace {

using test::ranks;

constexpr int64_t kClasses = 7;

Ranks all_ranks(Device device = Device::cpu) { return test::ranks_on(device); }

DistributedOptions in_rounds(int64_t rounds) {
  DistributedOptions options;
  options.scheme = Scheme::one_weird_trick;
  options.rounds = rounds;
  return options;
}

struct Network {
  std::string name;
  ModelConfig config;
  Shape input;
};

Network family(const char* name, Shape input, double width, float dropout = 0.3f) {
  Network network{name, {}, std::move(input)};
  network.config.name = name;
  network.config.width = width;
  network.config.dropout = dropout;
  network.config.init = nn::InitScheme::kaiming_normal;
  return network;
}

Network small(float dropout = 0.3f) { return family("alexnet_mini", {16, 16, 3}, 0.125, dropout); }

std::shared_ptr<nn::Module> whole(const Network& network, Device device = Device::cpu) {
  const auto model = build_model(network.config, network.input, kClasses, 11);
  model->to(device);
  return model;
}

struct Data {
  Tensor images, labels;  // of all ranks

  Data(int64_t count, const Network& network, uint32_t seed)
      : images(test::random_tensor({count, network.input[0], network.input[1], network.input[2]}, seed)) {
    std::vector<int32_t> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<int32_t>((i * 3 + seed) % kClasses));
    labels = Tensor::from(values, {count});
  }
  Range own() const { return part_of(images.dim(0), ranks().rank(), ranks().size()); }
};

/// Forward and backward of a batch that begins at image `first` of its step, as one process does it.
Tensor pass(nn::Module& model, const Data& data, uint64_t step, uint64_t first, Device device) {
  dropout_state(device) = {5, step, first};
  const Tensor logits = model(data.images.to(device));
  ops::softmax_cross_entropy(logits, data.labels.to(device)).loss.backward();
  return logits.to(DType::float32).to(Device::cpu);
}

/// The same by all ranks together.
Tensor pass_together(OneWeirdTrick& model, const Data& data, uint64_t step, uint64_t first, Device device) {
  const Range own = data.own();
  dropout_state(device) = {5, step, first + static_cast<uint64_t>(own.begin)};
  const Tensor logits = model(ops::take_rows(data.images, own.begin, own.end).to(device));
  ops::softmax_cross_entropy(logits, data.labels.to(device)).loss.backward();
  const std::vector<nn::NamedShard> shards = model.named_shards();
  for (NamedTensor& p : model.named_parameters()) {
    const bool is_shard = std::any_of(shards.begin(), shards.end(), [&](const auto& s) { return s.name == p.name; });
    if (is_shard) continue;
    Tensor sum = p.tensor.grad().to(Device::cpu);
    ranks().all_reduce(sum.data<float>(), sum.size()).wait();
    p.tensor.grad().copy_from(sum.to(device));
  }
  return logits.to(DType::float32).to(Device::cpu);
}

/// What this rank has of the tensor of that name.
Tensor part_of_whole(const nn::Module& model, const NamedTensor& whole) {
  for (const nn::NamedShard& shard : model.named_shards()) {
    if (shard.name == whole.name) return ops::take_rows(whole.tensor, shard.held.begin, shard.held.end);
  }
  return whole.tensor;
}

/// |a − b| over |whole|, as vectors: a rank's few values of a tensor may all be next to nothing, the errors of their
/// sums are not.
double distance(const Tensor& a, const Tensor& b, const Tensor& whole) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  if (x.size() != y.size()) return INFINITY;
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < x.size(); ++i) difference += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
  for (const float value : whole.to_vector<float>()) norm += double{value} * value;
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-12);
}

double distance(const Tensor& a, const Tensor& b) { return distance(a, b, b); }

struct Comparison {
  int64_t images = 8, rounds = 0, steps = 3;
  double tolerance = 1e-5;
  Device device = Device::cpu;
  bool training = true;
};

/// Steps of SGD with momentum by all ranks, and by each rank alone: the same logits, gradients and weights.
void expect_equal(const Network& network, const Comparison& c) {
  const auto alone = whole(network, c.device);
  const auto together = std::make_shared<OneWeirdTrick>(whole(network), all_ranks(c.device), in_rounds(c.rounds));
  together->to(c.device);
  alone->train(c.training);
  together->train(c.training);
  Sgd one(alone->named_parameters(), 0.05, {0.9f}), many(together->named_parameters(), 0.05, {0.9f});
  const std::vector<NamedTensor> expected = alone->named_parameters(), found = together->named_parameters();
  ASSERT_EQ(expected.size(), found.size());
  for (int64_t step = 0; step < c.steps; ++step) {
    const Data data(c.images, network, static_cast<uint32_t>(step + 1));
    // As in a step of accumulated batches: there were others before.
    const auto first = static_cast<uint64_t>(3 * step);
    const Tensor logits = pass(*alone, data, static_cast<uint64_t>(step), first, c.device);
    const Tensor logits_together = pass_together(*together, data, static_cast<uint64_t>(step), first, c.device);
    ASSERT_EQ(logits_together.shape(), logits.shape());
    EXPECT_LE(distance(logits_together, logits), c.tolerance) << network.name << ", step " << step;
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(found[i].name, expected[i].name);
      const NamedTensor gradient{expected[i].name, expected[i].tensor.grad()};
      EXPECT_LE(distance(found[i].tensor.grad(), part_of_whole(*together, gradient), gradient.tensor), c.tolerance)
          << network.name << ", gradient of " << expected[i].name << " in step " << step;
    }
    one.step();
    many.step();
    one.clear_grad();
    many.clear_grad();
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(distance(found[i].tensor, part_of_whole(*together, expected[i]), expected[i].tensor), c.tolerance)
        << network.name << ", " << expected[i].name << " after " << c.steps << " steps";
  }
}

TEST(OneWeirdTrick, IsOneProcessInAnyNumberOfRounds) {
  for (int64_t rounds = 0; rounds <= ranks().size(); ++rounds) {
    SCOPED_TRACE(fmt::format("{} rounds", rounds));
    expect_equal(small(), {.images = 12, .rounds = rounds});
  }
}

TEST(OneWeirdTrick, IsOneProcessWhereTheImagesAreNoMultipleOfTheRanksOrFewer) {
  for (const int64_t images : {13, 7, 3, 2, 1}) {
    for (const int64_t rounds : {0, 1}) {
      SCOPED_TRACE(fmt::format("{} images, rounds {}", images, rounds));
      expect_equal(small(), {.images = images, .rounds = rounds, .steps = 2});
    }
  }
}

TEST(OneWeirdTrick, IsOneProcessForEveryFamily) {
  for (const Network& network :
       {family("alexnet", {63, 63, 3}, 0.125), family("alexnet_owt", {63, 63, 3}, 0.125),
        family("alexnet_paper", {63, 63, 3}, 0.125), family("alexnet_cifar", {32, 32, 3}, 0.125),
        family("lenet", {28, 28, 1}, 1.0, 0.0f)}) {
    expect_equal(network, {.images = 5, .steps = 2});
    expect_equal(network, {.images = 1, .steps = 1});  // all ranks but the last have none
  }
}

// A rank's batch norm sees its own images alone in training, so that these are compared in evaluation mode.
TEST(OneWeirdTrick, IsOneProcessForFamiliesWithBatchNorm) {
  for (const Network& network : {family("alexnet_bn", {67, 67, 3}, 0.125), family("resnet18", {16, 16, 3}, 0.125)}) {
    expect_equal(network, {.images = 5, .steps = 2, .training = false});
    expect_equal(network, {.images = 2, .rounds = 1, .steps = 1, .training = false});
  }
}

Network of_layers(const std::string& list) {
  Network network{"layers", ModelConfig::parse(ConfigReader::parse("layers: " + list)), {12, 12, 3}};
  network.config.init = nn::InitScheme::kaiming_normal;
  return network;
}

TEST(OneWeirdTrick, IsOneProcessForAListOfLayers) {
  expect_equal(of_layers("[{conv: {channels: 5, kernel: 3, stride: 2}}, relu, {dropout: 0.2}, flatten, {dropout: 0.3}, "
                         "{linear: 19}, leaky_relu, {linear: 13}, {dropout: 0.4}, silu, {linear: {features: 9, bias: "
                         "false}}, linear]"),
               {.images = 7});
}

TEST(OneWeirdTrick, IsOneProcessOnTheReferenceDeviceAndOnCuda) {
  expect_equal(small(), {.images = 5, .device = Device::reference});
  expect_equal(small(), {.images = 5, .steps = 2, .device = Device::cuda});
  expect_equal(small(), {.images = 5, .rounds = 1, .steps = 1, .device = Device::cuda});
}

// Sums of a few hundred products of values with 8 bits, rounded again in each of a handful of layers.
TEST(OneWeirdTrick, StaysNearOneProcessInBfloat16) {
  const test::PrecisionGuard precision(Device::cpu, Precision::bf16);
  expect_equal(small(), {.images = 9, .steps = 2, .tolerance = 0.04});
}

TEST(OneWeirdTrick, GivesTheSameBitsOnEveryRankAndInEveryRun) {
  const Network network = small();
  const auto logits = [&] {
    OneWeirdTrick model(whole(network), all_ranks(), in_rounds(0));
    Sgd optimizer(model.named_parameters(), 0.05, {0.9f});
    const Data data(9, network, 1);
    pass_together(model, data, 0, 0, Device::cpu);
    optimizer.step();
    return pass_together(model, data, 1, 0, Device::cpu).to_vector<float>();
  };
  const std::vector<float> first = logits();
  EXPECT_EQ(logits(), first);
  double sum = 0.0;
  for (const float v : first) sum = sum * 1.000001 + static_cast<double>(v);
  for (const double other : ranks().gathered(sum)) EXPECT_EQ(other, sum);
}

TEST(OneWeirdTrick, KeepsTheNamesOfLayersAndParameters) {
  const Network network = family("alexnet_cifar", {32, 32, 3}, 0.125);
  const auto plain = whole(network);
  OneWeirdTrick model(whole(network), all_ranks(), in_rounds(0));
  std::vector<std::string> expected, found;
  for (const nn::NamedModule& m : plain->named_modules()) expected.push_back(m.name);
  for (const nn::NamedModule& m : model.named_modules()) found.push_back(m.name);
  EXPECT_EQ(found, expected);
  EXPECT_EQ(model.type(), plain->type());
  EXPECT_EQ(model.find("classifier.1").type(), "ShardedLinear");
  const std::vector<NamedTensor> of_plain = plain->named_parameters(), of_model = model.named_parameters();
  ASSERT_EQ(of_model.size(), of_plain.size());
  for (size_t i = 0; i < of_plain.size(); ++i) EXPECT_EQ(of_model[i].name, of_plain[i].name);
}

// Of n images in all, n_r of them this rank's, F features each, linear layers of K outputs, K_r of them this rank's, R
// ranks, 4 bytes a value:
//   forward   (R − 1)·(8 + 4·n_r·F + Σ over layers 4·n·K_r)   count, features and columns to each other rank
//   backward  Σ over layers but the last 4·n·(K − K_r) + 4·(n − n_r)·F   gradients of the others' columns and features
// whatever the rounds are.
TEST(OneWeirdTrick, SendsWhatItsFormulaSays) {
  const Network network = of_layers("[flatten, {linear: 20}, relu, {linear: 11}, linear]");
  Network images = network;
  images.input = {2, 3, 1};
  const int64_t R = ranks().size(), n = 7, F = 6;
  for (int64_t rounds = 0; rounds <= R; ++rounds) {
    OneWeirdTrick model(whole(images), all_ranks(), in_rounds(rounds));
    const Data data(n, images, 1);
    const int64_t own = data.own().size();
    const Tensor mine = ops::take_rows(data.images, data.own().begin, data.own().end);
    const auto own_columns = [&](int64_t K) { return part_of(K, ranks().rank(), R).size(); };
    int64_t forward = 8 + 4 * own * F, backward = 4 * (n - own) * F;
    for (const int64_t K : {int64_t{20}, int64_t{11}, kClasses}) forward += 4 * n * own_columns(K);
    for (const int64_t K : {20, 11}) backward += 4 * n * (K - own_columns(K));

    const int64_t before = ranks().bytes_sent();
    // Of a gradient too, as convolutions would want one.
    Tensor leaf = mine.clone();
    leaf.set_requires_grad(true);
    const Tensor logits = model(leaf);
    EXPECT_EQ(ranks().bytes_sent() - before, (R - 1) * forward) << rounds << " rounds";
    ops::softmax_cross_entropy(logits, data.labels).loss.backward();
    EXPECT_EQ(ranks().bytes_sent() - before, (R - 1) * forward + backward) << rounds << " rounds";
  }
}

TEST(OneWeirdTrick, SendsBfloat16InHalfTheBytes) {
  if (ranks().size() == 1) GTEST_SKIP() << "one rank sends nothing";
  const Network network = small();
  const Data data(8, network, 1);
  std::vector<int64_t> bytes;
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const test::PrecisionGuard guard(Device::cpu, precision);
    OneWeirdTrick model(whole(network), all_ranks(), in_rounds(0));
    const int64_t before = ranks().bytes_sent();
    dropout_state(Device::cpu) = {};
    const Tensor logits = model(ops::take_rows(data.images, data.own().begin, data.own().end));
    ops::softmax_cross_entropy(logits, data.labels).loss.backward();
    bytes.push_back(ranks().bytes_sent() - before - 8 * (ranks().size() - 1));  // the count
  }
  EXPECT_EQ(bytes[0], 2 * bytes[1]);
}

TEST(OneWeirdTrick, RefusesNetworksThatItCannotDivide) {
  const auto refuses = [](const Network& network, const DistributedOptions& options,
                          std::initializer_list<std::string> parts) {
    return test::throws_with<ConfigError>([&] { OneWeirdTrick(whole(network), all_ranks(), options); }, parts);
  };
  Network no_linear = of_layers("[{conv: {channels: 7, kernel: 3}}, {adaptive_avg_pool: 1}, flatten]");
  EXPECT_TRUE(refuses(no_linear, in_rounds(0), {"one_weird_trick", "none there"}));
  EXPECT_TRUE(
      refuses(small(), in_rounds(ranks().size() + 1), {"distributed.rounds", fmt::format("{}", ranks().size())}));
  if (ranks().size() > 1) {
    EXPECT_TRUE(refuses(of_layers("[flatten, {linear: 1}, linear]"), in_rounds(0),
                        {"1: 1 outputs", fmt::format("{} ranks", ranks().size())}));
  }
}

// Whose last part has more than linear layers.
class Odd : public Classifier {
 public:
  Odd() {
    auto head = std::make_shared<nn::Sequential>();
    head->add(std::make_shared<nn::Linear>(4, 4)).add(std::make_shared<nn::BatchNorm2d>(4));
    register_module("head", head);
  }
  Tensor features(const Tensor& x) override { return x; }
  Tensor classify(const Tensor& x) override { return (*children().back().second)(x); }
  std::string type() const override { return "odd"; }
};

TEST(OneWeirdTrick, RefusesParametersOfOtherLayersInTheLastPart) {
  EXPECT_TRUE(test::throws_with<ConfigError>([] { OneWeirdTrick(std::make_shared<Odd>(), all_ranks(), in_rounds(0)); },
                                             {"head.1 (BatchNorm2d)"}));
}

}  // namespace
}  // namespace striate::models
