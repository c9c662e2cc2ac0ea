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

Ranks all_ranks() { return {&ranks(), &ranks()}; }

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

/// |a − b| over |b|, as vectors.
double distance(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  if (x.size() != y.size()) return INFINITY;
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    norm += double{y[i]} * y[i];
  }
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-12);
}

struct Comparison {
  int64_t images = 8, rounds = 0, steps = 3;
  double tolerance = 1e-5;
  Device device = Device::cpu;
  bool training = true;
};

/// Steps of SGD with momentum by all ranks, and by each rank alone: the same logits, gradients and weights.
void expect_equal(const Network& network, const Comparison& c) {
  const auto alone = whole(network, c.device);
  const auto together = std::make_shared<OneWeirdTrick>(whole(network), all_ranks(), in_rounds(c.rounds));
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
      EXPECT_LE(distance(found[i].tensor.grad(), part_of_whole(*together, gradient)), c.tolerance)
          << network.name << ", gradient of " << expected[i].name << " in step " << step;
    }
    one.step();
    many.step();
    one.clear_grad();
    many.clear_grad();
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(distance(found[i].tensor, part_of_whole(*together, expected[i])), c.tolerance)
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

}  // namespace
}  // namespace striate::models
