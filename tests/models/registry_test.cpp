#include "models/registry.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/config.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"
#include "models/classifier.h"
#include "tests/models/random_tensor.h"
#include "tests/support/error.h"

namespace striate::models {
namespace {

ModelConfig named(const std::string& name) {
  ModelConfig config;
  config.name = name;
  return config;
}

ModelConfig parsed(const std::string& yaml) { return ModelConfig::parse(ConfigReader::parse(yaml)); }

template <typename E>
testing::AssertionResult make_throws(const ModelConfig& config, const Shape& input,
                                     std::initializer_list<std::string> parts, int64_t classes = 10) {
  return test::throws_with<E>([&] { make_model(config, input, classes); }, parts);
}

testing::AssertionResult parse_throws(const std::string& yaml, std::initializer_list<std::string> parts) {
  return test::throws_with<ConfigError>([&] { parsed(yaml); }, parts);
}

Tensor images(int64_t count, const Shape& input, uint32_t seed = 1) {
  const Shape shape = {count, input[0], input[1], input[2]};
  return test::random_tensor(shape, seed);
}

struct CountCase {
  const char* print_as;
  const char* model;
  Shape input;
  int64_t classes;
  int64_t parameters;
};

class ParameterCount : public testing::TestWithParam<CountCase> {};

TEST_P(ParameterCount, IsThePublishedOne) {
  const CountCase& c = GetParam();
  EXPECT_EQ(make_model(named(c.model), c.input, c.classes)->parameter_count(), c.parameters);
}

// Sources: torchvision's documentation (alexnet, resnet18); the courses' printed summaries (the rest).
INSTANTIATE_TEST_SUITE_P(Models, ParameterCount,
                         testing::Values(CountCase{"alexnet", "alexnet", {}, 0, 61'100'840},
                                         CountCase{"alexnet_10_classes", "alexnet", {}, 10, 57'044'810},
                                         CountCase{"alexnet_10_classes_at_70", "alexnet", {70, 70, 3}, 10, 57'044'810},
                                         CountCase{"alexnet_owt", "alexnet_owt", {}, 0, 61'838'248},
                                         CountCase{"alexnet_paper", "alexnet_paper", {}, 0, 60'965'224},
                                         CountCase{"alexnet_bn", "alexnet_bn", {}, 0, 58'691'236},
                                         CountCase{"alexnet_cifar", "alexnet_cifar", {}, 0, 23'272'266},
                                         CountCase{"alexnet_mini", "alexnet_mini", {}, 0, 546'634},
                                         CountCase{"lenet", "lenet", {}, 0, 83'126},
                                         CountCase{"lenet_28_grey", "lenet", {28, 28, 1}, 10, 61'706},
                                         CountCase{"resnet18", "resnet18", {}, 0, 11'689'512},
                                         CountCase{"resnet18_cifar", "resnet18", {32, 32, 3}, 10, 11'173'962}),
                         [](const auto& test) { return std::string(test.param.print_as); });

TEST(ParameterNames, AreTorchvisions) {
  const auto names = [](const std::string& model, const Shape& input) {
    ModelConfig config = named(model);
    config.width = 0.05;
    const auto module = make_model(config, input, 10);
    std::set<std::string> all;
    for (const NamedTensor& t : module->named_parameters()) all.insert(t.name);
    for (const NamedTensor& t : module->named_buffers()) all.insert(t.name);
    return all;
  };
  const std::set<std::string> alexnet = {
      "features.0.weight",   "features.0.bias",   "features.3.weight",   "features.3.bias",
      "features.6.weight",   "features.6.bias",   "features.8.weight",   "features.8.bias",
      "features.10.weight",  "features.10.bias",  "classifier.1.weight", "classifier.1.bias",
      "classifier.4.weight", "classifier.4.bias", "classifier.6.weight", "classifier.6.bias"};
  EXPECT_EQ(names("alexnet", {224, 224, 3}), alexnet);
  EXPECT_EQ(names("alexnet_owt", {224, 224, 3}), alexnet);
  EXPECT_EQ(names("alexnet_cifar", {32, 32, 3}), alexnet);

  const std::set<std::string> resnet = names("resnet18", {224, 224, 3});
  for (const char* name : {"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
                           "layer1.0.conv1.weight", "layer1.1.bn2.running_var", "layer2.0.downsample.0.weight",
                           "layer2.0.downsample.1.running_mean", "layer4.1.conv2.weight", "fc.weight", "fc.bias"}) {
    EXPECT_EQ(resnet.count(name), 1u) << name;
  }
  // torchvision's state dict has 122 entries, 20 of them num_batches_tracked.
  EXPECT_EQ(resnet.size(), 102u);
  EXPECT_EQ(names("lenet", {32, 32, 3}).count("classifier.4.weight"), 1u);
}

struct ForwardCase {
  const char* model;
  Shape input;
  Shape features;
};

class Forward : public testing::TestWithParam<ForwardCase> {};

TEST_P(Forward, GivesLogitsAndTheFeaturesBeforeThem) {
  const ForwardCase& c = GetParam();
  ModelConfig config = named(c.model);
  config.width = 0.125;
  const auto model = build_model(config, c.input, 7, 1);
  model->eval();
  const NoGradGuard no_grad;
  const Tensor x = images(2, c.input);
  const Tensor logits = (*model)(x);
  EXPECT_EQ(logits.shape(), (Shape{2, 7}));

  auto classifier = std::dynamic_pointer_cast<Classifier>(model);
  ASSERT_NE(classifier, nullptr);
  const Tensor features = classifier->features(x);
  EXPECT_EQ(features.shape(), c.features);
  EXPECT_EQ(classifier->classify(features).to_vector<float>(), logits.to_vector<float>());
}

INSTANTIATE_TEST_SUITE_P(
    Models, Forward,
    testing::Values(ForwardCase{"alexnet", {63, 63, 3}, {2, 36 * 32}}, ForwardCase{"alexnet_owt", {63, 79, 3}, {2, 32}},
                    ForwardCase{"alexnet_paper", {64, 64, 1}, {2, 32}}, ForwardCase{"alexnet_bn", {67, 67, 3}, {2, 32}},
                    ForwardCase{"alexnet_cifar", {32, 32, 3}, {2, 128}},
                    ForwardCase{"alexnet_mini", {16, 16, 3}, {2, 128}}, ForwardCase{"lenet", {28, 28, 1}, {2, 50}},
                    ForwardCase{"resnet18", {32, 32, 3}, {2, 64}}, ForwardCase{"resnet18", {65, 65, 3}, {2, 64}}),
    [](const auto& test) {
      return fmt::format("{}_{}x{}x{}", test.param.model, test.param.input[0], test.param.input[1],
                         test.param.input[2]);
    });

TEST(AlexNetCifar, ForwardAlsoGivesThe1024Features) {
  const auto model = std::dynamic_pointer_cast<Classifier>(build_model(named("alexnet_cifar"), {}, 0, 504));
  ASSERT_NE(model, nullptr);
  model->eval();
  const NoGradGuard no_grad;
  EXPECT_EQ(model->features(images(1, {32, 32, 3})).shape(), (Shape{1, 1024}));
}

TEST(DropoutPlace, ChangesNothingButWhereTheDropoutStands) {
  for (const char* name : {"alexnet", "alexnet_owt", "alexnet_mini"}) {
    const Shape input = std::string(name) == "alexnet_mini" ? Shape{16, 16, 3} : Shape{63, 63, 3};
    ModelConfig config = named(name);
    config.width = 0.1;
    config.dropout_place = DropoutPlace::before_linear;
    const auto before = build_model(config, input, 5, 3);
    config.dropout_place = DropoutPlace::after_activation;
    const auto after = build_model(config, input, 5, 3);

    const auto a = before->named_parameters(), b = after->named_parameters();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].name, b[i].name);
      EXPECT_EQ(a[i].tensor.to_vector<float>(), b[i].tensor.to_vector<float>()) << a[i].name;
    }
    const auto types = [](nn::Module& model, bool with_dropout) {
      std::string line;
      for (const nn::NamedModule& m : model.named_modules()) {
        if (m.module->children().empty() && (with_dropout || m.module->type() != "Dropout"))
          line += m.module->type() + " ";
      }
      return line;
    };
    EXPECT_EQ(types(*before, false), types(*after, false));
    EXPECT_NE(types(*before, true), types(*after, true));

    const NoGradGuard no_grad;
    const Tensor x = images(2, input);
    EXPECT_NE((*before)(x).to_vector<float>(), (*after)(x).to_vector<float>()) << "training: the masks differ";
    before->eval();
    after->eval();
    EXPECT_EQ((*before)(x).to_vector<float>(), (*after)(x).to_vector<float>());
  }
}

TEST(DropoutPlace, IsTheModelsOwnUnlessGiven) {
  const auto classifier = [](const std::string& name, const Shape& input) {
    ModelConfig config = named(name);
    config.width = 0.05;
    std::string line;
    const auto model = make_model(config, input, 5);
    for (auto& [child, module] : model->find("classifier").children()) line += module->type() + " ";
    return line;
  };
  EXPECT_EQ(classifier("alexnet", {63, 63, 3}), "Dropout Linear ReLU Dropout Linear ReLU Linear ");
  EXPECT_EQ(classifier("alexnet_owt", {63, 63, 3}), "Linear ReLU Dropout Linear ReLU Dropout Linear ");
  EXPECT_EQ(classifier("alexnet_bn", {67, 67, 3}), "Linear ReLU Dropout Linear ReLU Dropout Linear ");
  EXPECT_EQ(classifier("alexnet_cifar", {32, 32, 3}), "Dropout Linear ReLU Dropout Linear ReLU Linear ");
  EXPECT_EQ(classifier("alexnet_mini", {32, 32, 3}), "Dropout Linear ReLU Dropout Linear ");
}

TEST(ModelOptions, ActivationIsUsedThroughout) {
  ModelConfig config = named("resnet18");
  config.width = 0.05;
  config.activation = Activation::gelu;
  const auto model = build_model(config, {8, 8, 3}, 3, 1);
  int gelus = 0;
  for (const nn::NamedModule& m : model->named_modules()) {
    EXPECT_NE(m.module->type(), "ReLU");
    gelus += m.module->type() == "GELU";
  }
  EXPECT_EQ(gelus, 9);
  const NoGradGuard no_grad;
  EXPECT_EQ((*model)(images(2, {8, 8, 3})).shape(), (Shape{2, 3}));
}

TEST(ModelOptions, StemFollowsTheInputUnlessGiven) {
  const auto has_maxpool = [](Stem stem, int64_t size) {
    ModelConfig config = named("resnet18");
    config.width = 0.05;
    config.stem = stem;
    bool found = false;
    const auto model = make_model(config, {size, size, 3}, 3);
    for (auto& [name, module] : model->children()) found = found || name == "maxpool";
    return found;
  };
  EXPECT_FALSE(has_maxpool(Stem::automatic, 64));
  EXPECT_TRUE(has_maxpool(Stem::automatic, 65));
  EXPECT_TRUE(has_maxpool(Stem::imagenet, 32));
  EXPECT_FALSE(has_maxpool(Stem::cifar, 224));
}

TEST(ModelOptions, SameSeedSameWeightsOtherSeedOthers) {
  const auto weights = [](uint64_t seed) {
    return build_model(named("lenet"), {}, 0, seed)->named_parameters()[0].tensor.to_vector<float>();
  };
  EXPECT_EQ(weights(1), weights(1));
  EXPECT_NE(weights(1), weights(2));
}

TEST(WrongInput, NamesTheLayerAndTheSmallestSize) {
  EXPECT_TRUE(make_throws<ShapeError>(
      named("alexnet"), {32, 32, 3},
      {"alexnet with input [32,32,3]", "layer features.12 (max_pool)", "the smallest input is 63x63"}));
  EXPECT_TRUE(make_throws<ShapeError>(named("alexnet_bn"), {66, 66, 3}, {"features.13", "67x67"}));
  EXPECT_TRUE(make_throws<ShapeError>(named("lenet"), {11, 11, 3}, {"features.5 (avg_pool)", "12x12"}));
  // What is said to be the smallest does fit.
  EXPECT_NO_THROW(make_model(named("lenet"), {12, 12, 3}, 10));
  EXPECT_TRUE(make_throws<ConfigError>(named("lenet"), {12, 12}, {"expected H,W,C", "[12,12]"}));
  EXPECT_TRUE(make_throws<ConfigError>(named("lenet"), {12, -1, 3}, {"expected H,W,C"}));
}

TEST(WrongOptions, AreConfigErrors) {
  EXPECT_TRUE(make_throws<ConfigError>(named("alexnett"), {}, {"no model 'alexnett'", "did you mean 'alexnet'?"}));
  ModelConfig config = named("lenet");
  config.num_classes = 10;
  EXPECT_TRUE(make_throws<ConfigError>(config, {}, {"model.num_classes is 10", "100 classes"}, 100));
  EXPECT_EQ(resolve_classes(config, 5), 10);
  config = named("lenet");
  config.in_channels = 3;
  EXPECT_TRUE(make_throws<ConfigError>(config, {28, 28, 1}, {"model.in_channels is 3", "1 channels"}));
  config = named("lenet");
  config.dropout_place = DropoutPlace::before_linear;
  EXPECT_TRUE(make_throws<ConfigError>(config, {}, {"model.dropout_place: lenet has no dropout"}));
  config = named("alexnet");
  config.stem = Stem::cifar;
  EXPECT_TRUE(make_throws<ConfigError>(config, {}, {"model.stem: only resnet18"}));
}

TEST(ResolveInput, FollowsDataThenConfigurationThenModel) {
  ModelConfig config = named("lenet");
  EXPECT_EQ(resolve_input(config), (Shape{32, 32, 3}));
  config.in_channels = 1;
  EXPECT_EQ(resolve_input(config), (Shape{32, 32, 1}));
  EXPECT_EQ(resolve_input(config, {28, 28, 1}), (Shape{28, 28, 1}));
}

TEST(ModelSection, ReadsEveryKey) {
  const ModelConfig config = parsed(
      "name: alexnet_owt\nnum_classes: 200\nin_channels: 1\ndropout: 0.25\ndropout_place: before_linear\n"
      "activation: silu\ninit: kaiming_normal\nwidth: 0.5\nconv: own\nlinear: own\n");
  EXPECT_EQ(config.name, "alexnet_owt");
  EXPECT_EQ(config.num_classes, 200);
  EXPECT_EQ(config.in_channels, 1);
  EXPECT_EQ(config.dropout, 0.25f);
  EXPECT_EQ(config.dropout_place, DropoutPlace::before_linear);
  EXPECT_EQ(config.activation, Activation::silu);
  EXPECT_EQ(config.init, nn::InitScheme::kaiming_normal);
  EXPECT_EQ(config.width, 0.5);
  EXPECT_EQ(parsed("{name: resnet18, stem: cifar}").stem, Stem::cifar);
  const ModelConfig defaults = parsed("name: lenet");
  EXPECT_EQ(defaults.num_classes, 0);
  EXPECT_EQ(defaults.dropout, 0.5f);
  EXPECT_FALSE(defaults.dropout_place || defaults.init);
}

TEST(ModelSection, NamesWhatIsWrong) {
  EXPECT_TRUE(parse_throws("dropout: 0.5", {"name must be given", "alexnet_owt"}));
  EXPECT_TRUE(parse_throws("{name: lenet, layers: [flatten]}", {"a name or layers, not both"}));
  EXPECT_TRUE(parse_throws("name: lenett", {"found 'lenett'", "did you mean 'lenet'?"}));
  EXPECT_TRUE(parse_throws("{name: lenet, dropuot: 0.1}", {"dropuot: unknown key", "'dropout'"}));
  EXPECT_TRUE(parse_throws("{name: lenet, dropout: 1.0}", {"dropout: expected a probability in [0, 1), found 1"}));
  EXPECT_TRUE(parse_throws("{name: lenet, num_classes: 0}", {"num_classes: expected a positive number, found 0"}));
  EXPECT_TRUE(parse_throws("{name: lenet, activation: rellu}", {"activation", "did you mean 'relu'?"}));
  EXPECT_TRUE(parse_throws("{name: lenet, init: xavier}", {"configuration:1: init:", "xavier_normal"}));
  EXPECT_TRUE(parse_throws("{name: lenet, width: -1}", {"width: expected a factor"}));
  EXPECT_TRUE(parse_throws("{name: lenet, conv: mkl}", {"conv: expected one of own | cudnn, found 'mkl'"}));
  EXPECT_TRUE(parse_throws("{name: lenet, linear: cudnn}", {"linear: expected one of own | cublas, found 'cudnn'"}));
}

TEST(ModelSection, ChoosesAVendorsKernelsWhereThisBuildHasThem) {
  EXPECT_EQ(parsed("name: lenet").conv, ops::Kernels::own);
  EXPECT_EQ(parsed("{name: lenet, conv: own, linear: own}").linear, ops::Kernels::own);
  if (cudnn::missing().empty()) {
    EXPECT_EQ(parsed("{name: lenet, conv: cudnn}").conv, ops::Kernels::vendor);
  } else {
    EXPECT_TRUE(parse_throws("{name: lenet, conv: cudnn}",
                             {"configuration:1: conv: 'cudnn' cannot be used",
                              gpu::built_for_gpu() ? "install it" : "preset cuda", "or use 'own'"}));
  }
  if (cublas::missing().empty()) {
    const ModelConfig config = parsed("{name: lenet, linear: cublas}");
    EXPECT_EQ(config.linear, ops::Kernels::vendor);
    EXPECT_EQ(config.conv, ops::Kernels::own);
    EXPECT_EQ(config.kernels_notice().find("cuBLAS") != std::string::npos, !gpu::built_for_gpu());
  } else {
    EXPECT_TRUE(parse_throws("{name: lenet, linear: cublas}", {"linear: 'cublas' cannot be used", "install it"}));
  }
  EXPECT_EQ(parsed("name: lenet").kernels_notice(), "");
}

TEST(ModelSection, AVendorsKernelsAreForCudaInThePrecisionsThatTheyHave) {
  ModelConfig config = parsed("name: lenet");
  for (const Device device : {Device::cpu, Device::reference, Device::cuda}) {
    EXPECT_NO_THROW(config.check_kernels(device, Precision::bf16));
  }
  config.linear = ops::Kernels::vendor;
  EXPECT_NO_THROW(config.check_kernels(Device::cuda, Precision::bf16));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { config.check_kernels(Device::cpu, Precision::fp32); },
                                             {"model.linear: 'cublas'", "the device is cpu", "use 'own'"}));
  config.linear = ops::Kernels::own;
  config.conv = ops::Kernels::vendor;
  EXPECT_NO_THROW(config.check_kernels(Device::cuda, Precision::tf32));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { config.check_kernels(Device::reference, Precision::fp32); },
                                             {"model.conv: 'cudnn'", "the device is reference", "use 'own'"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { config.check_kernels(Device::cuda, Precision::bf16); },
                                             {"model.conv: 'cudnn' has no bf16", "use 'own'"}));
}

}  // namespace
}  // namespace striate::models
