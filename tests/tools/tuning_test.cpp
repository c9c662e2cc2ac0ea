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
#include "tests/tools/picture.h"
#include "tests/tools/tool.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/layer_responses.h"
#include "tools/experiments/metrics_table.h"
#include "tools/experiments/tuning.h"
#include "tools/experiments/tuning_figures.h"
#include "tools/experiments/tuning_table.h"

namespace striate {
namespace {

using test::Gabor;
using test::gabor_weights;
using test::TempDir;

const std::vector<GratingColour> kLuminance = {GratingColour::black_white};

/// The measures of a unit whose response is a function of the grating.
template <typename Response>
Tuning tuning_of(const GratingGrid& grid, Response response) {
  std::vector<float> values;
  for (int64_t i = 0; i < grid.size(); ++i) values.push_back(static_cast<float>(response(grid.at(i))));
  return measure_tuning(grid, values, 224.0);
}

double radians(double degrees) { return degrees * std::numbers::pi / 180.0; }

TEST(Tuning, CircularVarianceOfKnownCurves) {
  const GratingGrid grid{even_orientations(8), {5.0, 10.0}, {0.0}, kLuminance};
  const Tuning alone = tuning_of(grid, [](const Grating& g) {
    return g.orientation_deg == 45.0 && g.cycles_per_image == 10.0 ? 2.0 : -1.0;  // rectified away elsewhere
  });
  EXPECT_TRUE(alone.responsive);
  EXPECT_NEAR(alone.circular_variance, 0.0, 1e-12);
  EXPECT_NEAR(alone.circular_variance_at_preferred_sf, 0.0, 1e-12);
  EXPECT_NEAR(alone.preferred_orientation_deg, 45.0, 1e-9);
  EXPECT_EQ(alone.preferred_cycles_per_image, 10.0);
  EXPECT_EQ(alone.preferred_cycles_per_pixel, 10.0 / 224.0);
  EXPECT_EQ(alone.preferred_cycles_per_degree, 10.0 / 8.0);
  EXPECT_EQ(alone.orientation_selectivity, 1.0);
  EXPECT_EQ(alone.peak_response, 2.0);

  // 1 + a·cos 2(θ − θ0): the resultant is a/2 of the sum.
  const Tuning cosine = tuning_of(
      grid, [](const Grating& g) { return 3.0 * (1.0 + 0.6 * std::cos(2.0 * radians(g.orientation_deg - 100.0))); });
  EXPECT_NEAR(cosine.circular_variance, 0.7, 1e-6);
  EXPECT_NEAR(cosine.circular_variance_at_preferred_sf, 0.7, 1e-6);
  EXPECT_NEAR(cosine.global_orientation_selectivity, 0.3, 1e-6);
  EXPECT_NEAR(cosine.preferred_orientation_deg, 100.0, 1e-4);

  const Tuning same = tuning_of(grid, [](const Grating& g) { return g.cycles_per_image; });
  EXPECT_NEAR(same.circular_variance, 1.0, 1e-6);
  EXPECT_EQ(same.orientation_selectivity, 0.0);
  EXPECT_EQ(same.orientation_bandwidth_deg, 180.0);
  EXPECT_TRUE(std::isnan(same.preferred_orientation_deg)) << "it prefers none";
}

TEST(Tuning, PooledAndPreferredVarianceDiffer) {
  // Tuned at the preferred frequency, untuned and half as strong at the other one.
  const GratingGrid grid{even_orientations(4), {5.0, 10.0}, {0.0}, kLuminance};
  const Tuning tuning = tuning_of(grid, [](const Grating& g) {
    if (g.cycles_per_image == 5.0) return 1.0;
    return g.orientation_deg == 0.0 ? 4.0 : 0.0;
  });
  EXPECT_NEAR(tuning.circular_variance_at_preferred_sf, 0.0, 1e-12);
  EXPECT_NEAR(tuning.circular_variance, 1.0 - 4.0 / 8.0, 1e-12);
}

TEST(Tuning, DoublesTheAngle) {
  // 0° and 90° are opposite, not orthogonal: together they prefer nothing.
  const GratingGrid grid{{0.0, 45.0, 90.0, 135.0}, {5.0}, {0.0}, kLuminance};
  const Tuning tuning = tuning_of(
      grid, [](const Grating& g) { return g.orientation_deg == 0.0 || g.orientation_deg == 90.0 ? 1.0 : 0.0; });
  EXPECT_NEAR(tuning.circular_variance, 1.0, 1e-9);
}

TEST(Tuning, UnitsThatGratingsDoNotDriveAreNotResponsive) {
  const GratingGrid grid{even_orientations(4), {5.0, 10.0}, even_phases(4), kLuminance};
  for (const double level : {0.0, -0.5, 0.7}) {  // never above zero; the same to all
    const Tuning tuning = tuning_of(grid, [&](const Grating&) { return level; });
    EXPECT_FALSE(tuning.responsive) << level;
    EXPECT_TRUE(std::isnan(tuning.circular_variance));
    EXPECT_TRUE(std::isnan(tuning.f1_f0));
    EXPECT_EQ(tuning.peak_response, 0.0);
  }
}

TEST(Tuning, ModulationRatioAsTheorySays) {
  const GratingGrid grid{even_orientations(4), {5.0}, even_phases(64), kLuminance};
  // Half-wave rectified sinusoid: mean 1/π, amplitude ½.
  const Tuning simple = tuning_of(
      grid, [](const Grating& g) { return std::cos(g.phase_rad - 1.0) * std::exp(-g.orientation_deg / 40.0); });
  EXPECT_NEAR(simple.f1_f0, std::numbers::pi / 2.0, 5e-3);
  // Never below zero: the amplitude over the mean.
  const Tuning complex = tuning_of(
      grid, [](const Grating& g) { return (2.0 + std::cos(g.phase_rad)) * std::exp(-g.orientation_deg / 40.0); });
  EXPECT_NEAR(complex.f1_f0, 0.5, 1e-5);
  // A single phase answers: as many harmonics as can be.
  const Tuning spike =
      tuning_of(grid, [](const Grating& g) { return g.phase_rad == 0.0 ? std::exp(-g.orientation_deg / 40.0) : 0.0; });
  EXPECT_NEAR(spike.f1_f0, 2.0, 1e-6);
  const GratingGrid two{even_orientations(4), {5.0}, even_phases(2), kLuminance};
  EXPECT_TRUE(std::isnan(tuning_of(two, [](const Grating& g) { return 180.0 - g.orientation_deg; }).f1_f0));
}

TEST(Tuning, ModulationRatioIsOfTheBetterColour) {
  // Red/cyan in opposite phase and half as strong: the mean of both would seem complex.
  const GratingGrid grid{
      even_orientations(4), {5.0}, even_phases(64), {GratingColour::black_white, GratingColour::red_cyan}};
  const Tuning tuning = tuning_of(grid, [](const Grating& g) {
    const double wave = std::cos(g.phase_rad) * std::exp(-g.orientation_deg / 40.0);
    return g.colour == GratingColour::black_white ? wave : -0.5 * wave;
  });
  EXPECT_NEAR(tuning.f1_f0, std::numbers::pi / 2.0, 5e-3);
}

TEST(Tuning, OrientationBandwidth) {
  const std::vector<double> fine = even_orientations(180);
  const auto curve = [&](double sigma, double centre) {
    std::vector<double> values;
    for (const double degrees : fine) {
      const double off = std::remainder(degrees - centre, 180.0);
      values.push_back(std::exp(-off * off / (2.0 * sigma * sigma)));
    }
    return values;
  };
  // A Gaussian falls to 1/√2 at σ·√ln 2; the smoothing adds the window's variance, that of a Hann window of half width
  // h: h²·(1/3 − 2/π²).
  for (const double sigma : {15.0, 20.0, 25.0}) {
    const double window = 27.0 * 27.0 * (1.0 / 3.0 - 2.0 / (std::numbers::pi * std::numbers::pi));
    const double expected = std::sqrt((sigma * sigma + window) * std::numbers::ln2);
    EXPECT_NEAR(orientation_bandwidth(fine, curve(sigma, 90.0)), expected, 0.4) << sigma;
    EXPECT_NEAR(orientation_bandwidth(fine, curve(sigma, 2.0)), expected, 0.4) << "across 0°";
  }
  EXPECT_EQ(orientation_bandwidth(fine, std::vector<double>(180, 1.0)), 180.0);
  EXPECT_EQ(orientation_bandwidth(fine, curve(200.0, 90.0)), 180.0) << "it never falls so far";
}

TEST(Tuning, FrequencyBandwidthInOctaves) {
  GratingGrid grid{even_orientations(4), {1, 2, 4, 8, 16, 32}, {0.0}, kLuminance};
  const auto triangle = [](const Grating& g) {  // peak 1 at 8, one half an octave on either side
    return std::max(0.0, 1.0 - 0.5 * std::abs(std::log2(g.cycles_per_image) - 3.0)) *
           (g.orientation_deg == 0.0 ? 1 : 0.1);
  };
  EXPECT_NEAR(tuning_of(grid, triangle).sf_bandwidth_octaves, 2.0, 1e-6);
  std::swap(grid.cycles_per_image[0], grid.cycles_per_image[4]);  // in any order
  EXPECT_NEAR(tuning_of(grid, triangle).sf_bandwidth_octaves, 2.0, 1e-6);
  grid.cycles_per_image = {8, 16, 32};  // low pass, as far as the grid goes
  EXPECT_TRUE(std::isnan(tuning_of(grid, triangle).sf_bandwidth_octaves));
}

TEST(TuningTable, HasTheColumnsInOrderAndEmptyCells) {
  TempDir folder;
  const GratingGrid grid{even_orientations(4), {5.0, 10.0}, {0.0}, kLuminance};
  const Tuning tuned = tuning_of(grid, [](const Grating& g) { return g.orientation_deg == 45.0 ? 2.0 : 0.0; });
  write_tuning_table((folder / "tuning.csv").string(), {tuned, Tuning{}});
  const std::vector<std::string> lines = test::read_lines(folder / "tuning.csv");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(
      lines[0],
      "kernel,responsive,preferred_orientation_deg,preferred_sf_cycles_per_image,preferred_sf_cycles_per_pixel,"
      "preferred_sf_cycles_per_degree,circular_variance,circular_variance_at_preferred_sf,orientation_selectivity,"
      "global_orientation_selectivity,orientation_bandwidth_deg,sf_bandwidth_octaves,f1_f0,peak_response");
  EXPECT_EQ(lines[1].substr(0, 9), "0,1,45,5,");
  EXPECT_EQ(lines[2], "1,0,,,,,,,,,,,,0");
  const MetricsTable table = MetricsTable::read(folder / "tuning.csv");
  EXPECT_EQ(table.column("circular_variance")[0], 0.0);
  EXPECT_FALSE(table.column("f1_f0")[0].has_value()) << "one phase";
  EXPECT_FALSE(table.column("circular_variance")[1].has_value());
}

TEST(TuningFigures, BinsHoldTheResponsiveKernels) {
  std::vector<Tuning> tunings;
  for (const double cv : {0.0, 0.049, 0.051, 0.5, 0.999, 1.0}) {
    tunings.emplace_back();
    tunings.back().responsive = true;
    tunings.back().circular_variance = cv;
  }
  tunings.emplace_back();  // not responsive
  std::vector<int> expected(20, 0);
  expected[0] = 2, expected[1] = 1, expected[10] = 1, expected[19] = 2;
  EXPECT_EQ(circular_variance_bins(tunings, &Tuning::circular_variance), expected);
  EXPECT_EQ(quantile(defined_values(tunings, &Tuning::circular_variance), 0.5), (0.051 + 0.5) / 2.0);
  EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
}

TEST(TuningFigures, AHistogramOfNoKernelIsDrawn) {
  TempDir folder;
  draw_circular_variance_histogram({Tuning{}, Tuning{}}, "all dead", folder / "h.png");
  const test::Picture picture = test::Picture::read(folder / "h.png");
  EXPECT_GT(picture.count(0xD55E00), 100) << "macaque V1 is there";
  EXPECT_EQ(picture.count(0x0072B2), 0) << "and no kernel";
}

TEST(TuningFigures, ManyAreDrawnByOneGnuplotAndAFaultNamesItsFile) {
  TempDir folder;
  Figure good(300, 200), bad(300, 200);
  good.line("plot x notitle");
  bad.line("plot what?");
  Figure::save_all({{folder / "a.png", good}, {folder / "b.png", good}});
  good.save(folder / "alone.png");
  for (const char* name : {"a.png", "b.png"}) {
    EXPECT_EQ(test::Picture::read(folder / name).rgb, test::Picture::read(folder / "alone.png").rgb) << name;
  }
  EXPECT_TRUE(test::throws_with<Error>(
      [&] {
        Figure::save_all({{folder / "c.png", good}, {folder / "d.png", bad}});
      },
      {".png: gnuplot could not draw the figure", "what?"}));
  EXPECT_NO_THROW(Figure::save_all({}));
}

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
