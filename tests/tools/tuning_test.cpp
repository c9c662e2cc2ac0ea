#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tool.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/metrics_table.h"
#include "tools/experiments/tuning.h"
#include "tools/experiments/tuning_figures.h"
#include "tools/experiments/tuning_table.h"

namespace striate {
namespace {

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

}  // namespace
}  // namespace striate
