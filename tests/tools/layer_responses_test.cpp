#include "tools/experiments/layer_responses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numbers>

#include "engine/nn/layers.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/gabor_bank.h"
#include "tools/experiments/tuning.h"

namespace striate {
namespace {

using test::Gabor;
using test::gabor_weights;
using test::TempDir;

const std::vector<GratingColour> kLuminance = {GratingColour::black_white};

/// A convolution with known filters, its ReLU and a layer behind it.
struct Bank {
  std::shared_ptr<nn::Conv2d> conv;
  nn::Sequential model;

  Bank(const Tensor& weights, int64_t stride, float bias = 0.0f) {
    conv = std::make_shared<nn::Conv2d>(weights.dim(3), weights.dim(0), weights.dim(1), stride);
    conv->weight.copy_from(weights);
    conv->bias.fill(bias);
    model.add(conv).add(std::make_shared<nn::ActivationLayer>(Activation::relu));
    model.add(std::make_shared<nn::Conv2d>(weights.dim(0), 2, 1));
  }

  std::vector<Tuning> tunings(const GratingGrid& grid, int64_t size, ResponseStage stage = ResponseStage::pre_relu) {
    const auto channels = conv->weight.dim(3);
    const NetworkInput input{size, size, channels, std::vector<double>(static_cast<size_t>(channels), 0.45),
                             std::vector<double>(static_cast<size_t>(channels), 0.25)};
    const LayerResponses responses = measure_responses(
        model, find_conv(model, ""), drawn_gratings(grid, size, size, channels), input, Device::cpu, stage);
    EXPECT_EQ(responses.kernels, conv->weight.dim(0));
    return measure_tunings(responses.grid, responses.values, static_cast<double>(size));
  }
};

TEST(LayerResponses, AMeanImageShiftsAllGratingsAlike) {
  Bank bank(gabor_weights({{0.0, 0.2, 3.0, 0.0}, {45.0, 0.2, 3.0, 0.7}}, 7, 3), 2);
  const GratingGrid grid{even_orientations(4), {2.0}, even_phases(2), kLuminance};
  NetworkInput input{16, 16, 3, {0.2, 0.4, 0.6}, {0.25, 0.5, 1.0}};
  const auto values = [&] {
    return measure_responses(bank.model, find_conv(bank.model, ""), drawn_gratings(grid, 16, 16, 3), input, Device::cpu,
                             ResponseStage::pre_relu)
        .values;
  };
  const std::vector<float> plain = values();
  input.mean.clear();
  for (int i = 0; i < 16 * 16; ++i) input.mean.insert(input.mean.end(), {0.2, 0.4, 0.6});
  EXPECT_EQ(values(), plain);
  for (size_t i = 0; i < input.mean.size(); ++i) input.mean[i] = static_cast<double>(i % 101) / 101.0;
  const std::vector<float> shifted = values();
  const size_t each = plain.size() / 2;
  for (size_t k = 0; k < 2; ++k) {
    const float shift = shifted[k * each] - plain[k * each];
    EXPECT_GT(std::abs(shift), 1e-3f);
    for (size_t i = 0; i < each; ++i) EXPECT_NEAR(shifted[k * each + i] - plain[k * each + i], shift, 1e-4) << k;
  }
}

TEST(GaborBank, EveryFilterIsRecovered) {
  // 31×31 pixels on an input of 64: cycles per image are 64 times cycles per pixel.
  std::vector<Gabor> filters;
  for (const double degrees : {0.0, 17.0, 45.0, 81.0, 90.0, 123.0, 135.0, 171.0}) {
    filters.push_back({degrees, 0.2, 7.0, 0.7});
  }
  filters.push_back({60.0, 0.125, 7.0, 0.0});
  filters.push_back({150.0, 0.3, 7.0, 0.0});
  filters.push_back({0.0, 0.0, 3.0, 0.0, 1.0, true});  // a blob
  filters.push_back({0.0, 0.2, 7.0, 0.0, 0.0});        // zero
  Bank bank(gabor_weights(filters, 31, 3), 8);
  const std::vector<double> frequencies = {4.0, 8.0, 12.8, 16.0, 19.2};
  const std::vector<Tuning> tunings =
      bank.tunings({even_orientations(36), frequencies, even_phases(16), kLuminance}, 64);
  for (size_t k = 0; k < 10; ++k) {
    SCOPED_TRACE(k);
    const Tuning& t = tunings[k];
    ASSERT_TRUE(t.responsive);
    EXPECT_LT(std::abs(std::remainder(t.preferred_orientation_deg - filters[k].orientation_deg, 180.0)), 1.0);
    EXPECT_NEAR(t.preferred_cycles_per_image, 64.0 * filters[k].cycles_per_pixel, 1e-9);
    EXPECT_LT(t.circular_variance_at_preferred_sf, 0.12);
    EXPECT_LT(t.circular_variance, 0.15);
    EXPECT_GT(t.orientation_selectivity, 0.98);
    EXPECT_NEAR(t.f1_f0, std::numbers::pi / 2.0, 0.03);
    EXPECT_LT(t.orientation_bandwidth_deg, 20.0);
  }
  const Tuning& blob = tunings[10];
  ASSERT_TRUE(blob.responsive);
  EXPECT_GT(blob.circular_variance_at_preferred_sf, 0.97);
  EXPECT_GT(blob.circular_variance, 0.97);
  EXPECT_EQ(blob.orientation_bandwidth_deg, 180.0);
  EXPECT_LT(std::abs(blob.orientation_selectivity), 0.05);
  EXPECT_FALSE(tunings[11].responsive);
}

TEST(GaborBank, TheCoursesGridFindsThemWithinItsResolution) {
  std::vector<Gabor> filters;
  for (const double degrees : {0.0, 20.0, 50.0, 110.0, 160.0}) filters.push_back({degrees, 44.6875 / 224.0, 2.5, 0.3});
  Bank bank(gabor_weights(filters, 11, 3), 4);
  const std::vector<Tuning> tunings = bank.tunings(course_grid(64, 3), 64);
  for (size_t k = 0; k < filters.size(); ++k) {
    SCOPED_TRACE(k);
    EXPECT_LT(std::abs(std::remainder(tunings[k].preferred_orientation_deg - filters[k].orientation_deg, 180.0)),
              22.5 / 2.0);
    EXPECT_NEAR(tunings[k].preferred_cycles_per_pixel, 44.6875 / 224.0, 13.0625 / 224.0);
    EXPECT_LT(tunings[k].circular_variance_at_preferred_sf, 0.35);
    EXPECT_GT(tunings[k].f1_f0, 1.0) << "a linear filter before its ReLU is simple";
  }
}

TEST(GaborBank, BiasMakesThemComplexAndReluChangesNothing) {
  const std::vector<Gabor> filters = {{30.0, 0.2, 4.0, 0.0}, {120.0, 0.2, 4.0, 1.0}};
  const GratingGrid grid{even_orientations(12), {6.4, 12.8}, even_phases(8), kLuminance};
  const Tensor weights = gabor_weights(filters, 21, 1);
  Bank plain(weights, 4), raised(weights, 4, 1000.0f), lowered(weights, 4, -1000.0f);
  const std::vector<Tuning> pre = plain.tunings(grid, 64), post = plain.tunings(grid, 64, ResponseStage::post_relu);
  for (size_t k = 0; k < 2; ++k) {
    EXPECT_EQ(pre[k].circular_variance, post[k].circular_variance);
    EXPECT_EQ(pre[k].preferred_orientation_deg, post[k].preferred_orientation_deg);
    EXPECT_GT(pre[k].f1_f0, 1.4);
  }
  // Far above zero all phases answer: F1/F0 falls towards amplitude/bias.
  EXPECT_LT(raised.tunings(grid, 64)[0].f1_f0, 0.3);
  EXPECT_FALSE(lowered.tunings(grid, 64)[0].responsive) << "never above zero";
}

TEST(LayerResponses, AreTheCentreUnits) {
  // A 1×1 convolution passes its input on: the response is the normalised pixel below the centre unit.
  Tensor weights = Tensor::full({1, 1, 1, 1}, 1.0f);
  Bank bank(weights, 3);
  const GratingGrid grid{{0.0, 30.0, 77.0}, {3.0}, {0.0, 1.0}, kLuminance};
  const LayerResponses responses =
      measure_responses(bank.model, find_conv(bank.model, "0"), drawn_gratings(grid, 20, 25, 1),
                        {20, 25, 1, {0.4}, {0.2}}, Device::cpu, ResponseStage::pre_relu);
  EXPECT_EQ(responses.map_height, 7);
  EXPECT_EQ(responses.map_width, 9);
  EXPECT_EQ(responses.unit_y, 3);
  EXPECT_EQ(responses.unit_x, 4);
  for (int64_t i = 0; i < grid.size(); ++i) {
    std::vector<float> pixels(20 * 25);
    draw_grating(grid.at(i), 20, 25, 1, pixels.data());
    const double pixel = static_cast<double>(pixels[9 * 25 + 12]);
    EXPECT_NEAR(responses.values[static_cast<size_t>(i)], (pixel - 0.4) / 0.2, 1e-5);
  }
}

TEST(LayerResponses, AfterTheReluAreThoseOfTheUnitItself) {
  // Batch norm belongs to the way from a unit to its activation; a pool before the activation does not.
  const auto conv = std::make_shared<nn::Conv2d>(1, 2, 3);
  conv->weight.copy_from(gabor_weights({{0.0, 0.3, 2.0}, {90.0, 0.3, 2.0}}, 3, 1));
  const auto norm = std::make_shared<nn::BatchNorm2d>(2);
  norm->weight.fill(2.0f), norm->bias.fill(0.25f), norm->running_mean.fill(-0.5f), norm->running_var.fill(4.0f);
  nn::Sequential model;
  model.add(conv).add(norm).add(std::make_shared<nn::MaxPool2d>(2, 2));
  model.add(std::make_shared<nn::ActivationLayer>(Activation::relu));
  const GratingPictures pictures = drawn_gratings({even_orientations(4), {3.0}, even_phases(4), kLuminance}, 12, 12, 1);
  const NetworkInput input{12, 12, 1, {0.5}, {0.5}};
  const ConvLayer layer = find_conv(model, "0");
  const auto pre = measure_responses(model, layer, pictures, input, Device::cpu, ResponseStage::pre_relu).values;
  const auto post = measure_responses(model, layer, pictures, input, Device::cpu, ResponseStage::post_relu).values;
  ASSERT_EQ(pre.size(), post.size());
  int silent = 0;
  for (size_t i = 0; i < pre.size(); ++i) {
    const double normed = 2.0 * (static_cast<double>(pre[i]) + 0.5) / std::sqrt(4.0 + 1e-5) + 0.25;
    EXPECT_NEAR(post[i], std::max(0.0, normed), 1e-5);
    silent += normed < 0.0;
  }
  EXPECT_GT(silent, 0) << "the ReLU has something to do";
}

TEST(LayerResponses, LeaveTheNetworkAsItWas) {
  Bank bank(gabor_weights({{0.0}}, 5, 1), 1);
  bank.model.train();
  bank.tunings({even_orientations(3), {4.0}, {0.0}, kLuminance}, 16);
  EXPECT_TRUE(bank.model.training());
  bank.model.eval();
  bank.tunings({even_orientations(3), {4.0}, {0.0}, kLuminance}, 16);
  EXPECT_FALSE(bank.model.training());
  EXPECT_FALSE(bank.conv->weight.grad().defined());
  bank.model.train();
  bank.conv->eval();  // a part that is frozen
  bank.tunings({even_orientations(3), {4.0}, {0.0}, kLuminance}, 16);
  EXPECT_TRUE(bank.model.training());
  EXPECT_FALSE(bank.conv->training());
}

TEST(LayerResponses, AreWrittenWithTheirAxes) {
  TempDir folder;
  const std::vector<Gabor> filters = {{30.0}, {120.0}};
  Bank bank(gabor_weights(filters, 5, 3), 1);
  const GratingGrid grid{
      even_orientations(3), {2.0, 4.0}, even_phases(4), {GratingColour::black_white, GratingColour::red_cyan}};
  const LayerResponses responses =
      measure_responses(bank.model, find_conv(bank.model, ""), drawn_gratings(grid, 16, 16, 3),
                        {16, 16, 3, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}}, Device::cpu, ResponseStage::pre_relu);
  write_responses((folder / "r.safetensors").string(), responses, {{"epoch", "7"}});
  const Safetensors file = read_safetensors((folder / "r.safetensors").string());
  ASSERT_NE(file.find("responses"), nullptr);
  EXPECT_EQ(file.find("responses")->shape(), (Shape{2, 3, 2, 4, 2}));
  EXPECT_EQ(file.find("responses")->to_vector<float>(), responses.values);
  EXPECT_EQ(file.find("kernels")->to_vector<float>(), bank.conv->weight.to_vector<float>());
  EXPECT_EQ(file.find("orientation_deg")->to_vector<float>(), (std::vector<float>{0, 60, 120}));
  EXPECT_EQ(file.find("spatial_frequency_cycles_per_image")->to_vector<float>(), (std::vector<float>{2, 4}));
  EXPECT_EQ(file.find("phase_rad")->shape(), Shape{4});
  EXPECT_EQ(file.text("layer"), "0");
  EXPECT_EQ(file.text("epoch"), "7");
  EXPECT_EQ(file.text("responses"), "pre-relu");
  EXPECT_EQ(file.text("colours"), "bw,rc");
}

TEST(LayerResponses, RefuseWhatTheyCannotMeasure) {
  Bank bank(gabor_weights({{0.0}}, 5, 2), 1);
  const GratingGrid grid{even_orientations(3), {4.0}, {0.0}, kLuminance};
  const GratingPictures pictures = drawn_gratings(grid, 16, 16, 1);
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] {
        measure_responses(bank.model, find_conv(bank.model, ""), pictures, {16, 16, 2, {0, 0}, {1, 1}}, Device::cpu,
                          ResponseStage::pre_relu);
      },
      {"sees 2 channels", "1 (luminance) or 3 (RGB)"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { find_conv(bank.model, "3"); }, {"no layer '3'", "are 0, 2"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { find_conv(bank.model, "1"); }, {"'1' is a ReLU", "are 0, 2"}));
  nn::Sequential none;
  none.add(std::make_shared<nn::Flatten>());
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { find_conv(none, ""); }, {"no convolution"}));

  Bank grey(gabor_weights({{0.0}}, 5, 1), 1);
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] {
        measure_responses(grey.model, find_conv(grey.model, "2"), pictures, {16, 16, 1, {0.5}, {0.5}}, Device::cpu,
                          ResponseStage::post_relu);
      },
      {"no activation", "--pre-relu"}));
}

}  // namespace
}  // namespace striate
