#include "tools/experiments/imagine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/random.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Convolution 5×5, ReLU, batch norm, pooling, linear: with seeded weights, in training mode.
std::shared_ptr<nn::Sequential> small_network(int64_t channels) {
  auto net = std::make_shared<nn::Sequential>();
  net->add("conv", std::make_shared<nn::Conv2d>(channels, 6, 5, 1, 2));
  net->add("relu", std::make_shared<nn::ActivationLayer>(Activation::relu));
  net->add("norm", std::make_shared<nn::BatchNorm2d>(6));
  net->add("drop", std::make_shared<nn::Dropout>(0.5f));
  net->add("pool", std::make_shared<nn::MaxPool2d>(2, 2));
  net->add("flat", std::make_shared<nn::Flatten>());
  net->add("fc", std::make_shared<nn::Linear>(6 * 6 * 6, 4));
  Random random(11, RandomPurpose::test);
  for (const NamedTensor& p : net->named_parameters()) {
    Tensor values = p.tensor;
    // Positive biases: behind a dead ReLU nothing could rise.
    const float mean = p.name == "conv.bias" || p.name == "norm.weight" ? 1.0f : 0.0f;
    for (int64_t i = 0; i < values.size(); ++i) values.data<float>()[i] = mean + 0.2f * random.normal();
  }
  return net;
}

NetworkInput input_of(int64_t channels) {
  return {12, 12, channels, std::vector<double>(static_cast<size_t>(channels), 0.4),
          std::vector<double>(static_cast<size_t>(channels), 0.25)};
}

class Imagine : public testing::TestWithParam<const char*> {};

TEST_P(Imagine, RaisesEveryUnit) {
  for (const int64_t channels : {int64_t{1}, int64_t{3}}) {
    const auto net = small_network(channels);
    const NetworkInput input = input_of(channels);
    const std::string layer = GetParam();
    const int64_t count = unit_count(*net, layer, input, Device::cpu);
    EXPECT_EQ(count, layer.empty() || layer == "fc" ? 4 : 6);
    std::vector<int64_t> units;
    for (int64_t u = 0; u < count; ++u) units.push_back(u);
    for (const ImagineTarget target : {ImagineTarget::channel, ImagineTarget::centre}) {
      ImagineOptions options;
      options.target = target;
      options.steps = 60;
      const auto imagined = imagine(*net, layer, units, input, Device::cpu, options);
      ASSERT_EQ(imagined.size(), units.size());
      for (const Imagined& one : imagined) {
        EXPECT_GT(one.after, one.before + 0.05) << layer << " " << one.unit;
        EXPECT_EQ(one.image.channels, channels);
        EXPECT_EQ(one.image.width, 12);
      }
    }
    // The network is as it was: it trains, and its parameters want gradients and have none.
    EXPECT_TRUE(net->training());
    for (const NamedTensor& p : net->named_parameters()) {
      EXPECT_TRUE(p.tensor.requires_grad());
      EXPECT_FALSE(p.tensor.grad().defined());
    }
  }
}

TEST(ImagineMeanImage, OfOneLevelIsAMeanAChannelAndStaysWithinBlackAndWhite) {
  const auto net = small_network(3);
  NetworkInput input = input_of(3);
  const auto first = [&] { return imagine(*net, "conv", {0}, input, Device::cpu, {}).front(); };
  const Imagined plain = first();
  input.mean.assign(12 * 12 * 3, 0.4);
  EXPECT_EQ(first().image.pixels, plain.image.pixels);
  for (size_t i = 0; i < input.mean.size(); ++i) input.mean[i] = static_cast<double>(i % 36) / 36.0;
  const Imagined uneven = first();
  EXPECT_GT(uneven.after, uneven.before);
  EXPECT_NE(uneven.image.pixels, plain.image.pixels);
  input.mean.resize(7);
  EXPECT_THROW(first(), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Layers, Imagine, testing::Values("", "conv", "norm", "pool", "fc"),
                         [](const auto& tested) { return *tested.param ? std::string(tested.param) : "classes"; });

TEST(ImagineLinear, TheBestImageOfAConvolutionIsItsKernel) {
  // Without regularisers the response is linear in the pixels: white where the weight is positive, black where it is
  // negative, and grey outside the receptive field.
  const auto net = small_network(3);
  const NetworkInput input = input_of(3);
  ImagineOptions options;
  options.target = ImagineTarget::centre;
  options.steps = 200;
  options.rate = 1.0;
  options.decay = options.blur = 0.0;
  const Imagined found = imagine(*net, "conv", {2}, input, Device::cpu, options).front();
  const std::vector<float> weights = net->named_parameters()[0].tensor.to_vector<float>();
  int inside = 0;
  for (int y = 0; y < 12; ++y) {
    for (int x = 0; x < 12; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int r = y - 4, s = x - 4;  // the centre unit is 6,6 and sees 4 … 8
        const int pixel = found.image.row(y)[3 * x + c];
        if (r < 0 || r >= 5 || s < 0 || s >= 5) {
          EXPECT_NEAR(pixel, 127.5, 20.0) << "noise of a twentieth of the deviation alone";
          continue;
        }
        ++inside;
        const float weight = weights[static_cast<size_t>(((2 * 5 + r) * 5 + s) * 3 + c)];
        if (std::abs(weight) > 0.02f) {
          EXPECT_EQ(pixel, weight > 0.0f ? 255 : 0) << r << "," << s << "," << c;
        }
      }
    }
  }
  EXPECT_EQ(inside, 75);
}

TEST(ImagineOptions, SameSeedSameImageAndUnitsDoNotTouchEachOther) {
  const auto net = small_network(1);
  const NetworkInput input = input_of(1);
  ImagineOptions options;
  options.steps = 20;
  const auto both = imagine(*net, "conv", {1, 4}, input, Device::cpu, options);
  const auto again = imagine(*net, "conv", {1, 4}, input, Device::cpu, options);
  EXPECT_EQ(both[1].image.pixels, again[1].image.pixels);
  const auto alone = imagine(*net, "conv", {4}, input, Device::cpu, options);
  EXPECT_NEAR(alone[0].after, both[1].after, 1e-4);
  options.seed = 5;
  EXPECT_NE(imagine(*net, "conv", {4}, input, Device::cpu, options)[0].image.pixels, alone[0].image.pixels);
  options.steps = 0;
  const auto none = imagine(*net, "conv", {4}, input, Device::cpu, options);
  EXPECT_EQ(none[0].before, none[0].after);
  options.steps = 20;
  int steps = 0;
  options.progress = [&](int, int) { return ++steps < 3; };
  imagine(*net, "conv", {4}, input, Device::cpu, options);
  EXPECT_EQ(steps, 3);
}

TEST(ImagineErrors, NameTheUnitAndTheLayers) {
  const auto net = small_network(1);
  const auto message = [&](const std::string& layer, int64_t unit, ImagineOptions options) {
    try {
      imagine(*net, layer, {unit}, input_of(1), Device::cpu, options);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(message("conv9", 0, {}).find("conv, relu, norm"), std::string::npos) << message("conv9", 0, {});
  EXPECT_NE(message("conv", 6, {}).find("units 0 to 5"), std::string::npos) << message("conv", 6, {});
  EXPECT_NE(message("", -1, {}).find("units 0 to 3"), std::string::npos) << message("", -1, {});
  ImagineOptions options;
  options.jitter = 12;
  EXPECT_NE(message("conv", 0, options).find("jitter"), std::string::npos);
  options = {};
  options.decay = 1.0;
  EXPECT_NE(message("conv", 0, options).find("decay"), std::string::npos);
  EXPECT_THROW(parse_imagine_target("middle"), ConfigError);
}

}  // namespace
}  // namespace striate
