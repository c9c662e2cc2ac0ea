#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numbers>
#include <numeric>
#include <set>

#include "data/image_file.h"
#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"
#include "tools/experiments/grating_folder.h"
#include "tools/experiments/gratings.h"

namespace striate {
namespace {

using test::TempDir;

std::vector<float> drawn(const Grating& grating, int64_t height, int64_t width, int64_t channels) {
  std::vector<float> pixels(static_cast<size_t>(height * width * channels), -1.0f);
  draw_grating(grating, height, width, channels, pixels.data());
  return pixels;
}

TEST(CourseGrid, HasTheCoursesStimuliAndNames) {
  const GratingGrid grid = course_grid(224, 3);
  EXPECT_EQ(grid.size(), 640);
  EXPECT_EQ(grid.orientations_deg, (std::vector<double>{0, 22.5, 45, 67.5, 90, 112.5, 135, 157.5}));
  EXPECT_EQ(grid.cycles_per_image,
            (std::vector<double>{5.5, 18.5625, 31.625, 44.6875, 57.75, 70.8125, 83.875, 96.9375}));
  const std::vector<std::string> names = grating_names(grid);
  ASSERT_EQ(names.size(), 640u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 640u);
  EXPECT_EQ(names[0], "fullfield_0.0deg_5.5sf_0.0phase_bw.jpg");
  EXPECT_EQ(names[3], "fullfield_0.0deg_5.5sf_1.3phase_rc.jpg");
  for (const char* name : {"fullfield_22.5deg_18.6sf_2.5phase_bw.jpg", "fullfield_157.5deg_96.9sf_5.0phase_rc.jpg",
                           "fullfield_90.0deg_57.8sf_3.8phase_bw.jpg"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  // Names stand in the order of the grid.
  for (const int64_t i : {0, 1, 99, 345, 639}) {
    const auto parsed = parse_grating_name(names[static_cast<size_t>(i)]);
    const Grating grating = grid.at(i);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_NEAR(parsed->orientation_deg, grating.orientation_deg, 1e-9);
    EXPECT_NEAR(parsed->cycles_per_image, grating.cycles_per_image, 0.0501);
    EXPECT_NEAR(parsed->phase_rad.value(), grating.phase_rad, 0.0501);
    EXPECT_EQ(parsed->colour, grating.colour);
  }
}

TEST(CourseGrid, FitsOtherInputs) {
  EXPECT_EQ(course_grid(227, 3).cycles_per_image, course_grid(224, 3).cycles_per_image);
  const GratingGrid grey = course_grid(224, 1);
  EXPECT_EQ(grey.size(), 320);
  EXPECT_EQ(grey.colours, std::vector<GratingColour>{GratingColour::black_white});
  // A pixel of a small input shows what a pixel at 224 does.
  const GratingGrid small = course_grid(32, 3);
  EXPECT_EQ(small.size(), 640);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(small.cycles_per_image[i] / 32.0, course_grid(224, 3).cycles_per_image[i] / 224.0, 1e-12);
    EXPECT_LT(small.cycles_per_image[i], 16.0);
  }
}

TEST(Grating, IsTheFormulaAtEveryPixel) {
  constexpr int64_t kHeight = 48, kWidth = 64;
  for (const GratingColour colour : {GratingColour::black_white, GratingColour::red_cyan}) {
    for (const double degrees : {0.0, 22.5, 90.0, 112.5}) {
      const Grating grating{degrees, 5.5, 1.2566, colour};
      const std::vector<float> pixels = drawn(grating, kHeight, kWidth, 3);
      const double theta = degrees * std::numbers::pi / 180.0;
      for (int64_t row = 0; row < kHeight; ++row) {
        for (int64_t x = 0; x < kWidth; ++x) {
          const auto y = static_cast<double>(-row);  // upwards
          const double angle = 2.0 * std::numbers::pi * grating.cycles_per_image *
                               (static_cast<double>(x) * std::cos(theta) + y * std::sin(theta)) / kWidth;
          const double g = 0.5 + 0.5 * std::cos(angle + grating.phase_rad);
          const float* pixel = &pixels[static_cast<size_t>((row * kWidth + x) * 3)];
          const double other = colour == GratingColour::red_cyan ? 1.0 - g : g;
          ASSERT_NEAR(pixel[0], g, 1e-6) << degrees << "° at " << x << "," << row;
          ASSERT_NEAR(pixel[1], other, 1e-6);
          ASSERT_NEAR(pixel[2], other, 1e-6);
        }
      }
    }
  }
}

TEST(Grating, HasFullContrastAndMeanOneHalf) {
  // Whole cycles in both directions, so that the mean is exact.
  for (const double degrees : {0.0, 90.0}) {
    for (const int64_t channels : {1, 3}) {
      const std::vector<float> pixels = drawn({degrees, 8.0, 0.3, GratingColour::black_white}, 128, 128, channels);
      const double mean = std::accumulate(pixels.begin(), pixels.end(), 0.0) / static_cast<double>(pixels.size());
      EXPECT_NEAR(mean, 0.5, 1e-6);
      EXPECT_LT(*std::min_element(pixels.begin(), pixels.end()), 0.01f);
      EXPECT_GT(*std::max_element(pixels.begin(), pixels.end()), 0.99f);
      EXPECT_GE(*std::min_element(pixels.begin(), pixels.end()), 0.0f);
      EXPECT_LE(*std::max_element(pixels.begin(), pixels.end()), 1.0f);
    }
  }
}

TEST(Grating, TurnsCounterClockwise) {
  // At 45° the wave travels to the upper right: its crests run from the upper left to the lower right.
  const std::vector<float> pixels = drawn({45.0, 4.0, 0.0, GratingColour::black_white}, 32, 32, 1);
  for (size_t i = 0; i + 1 < 32; ++i) EXPECT_NEAR(pixels[i * 32 + i], pixels[0], 1e-5) << "along the crest";
  EXPECT_LT(pixels[5], 0.8f) << "and across it changes";
}

TEST(GratingName, ParsesTheCoursesPatternAlone) {
  const auto full = parse_grating_name("fullfield_157.5deg_18.6sf_5.0phase_rc.jpg");
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->orientation_deg, 157.5);
  EXPECT_EQ(full->cycles_per_image, 18.6);
  EXPECT_EQ(full->phase_rad, 5.0);
  EXPECT_EQ(full->colour, GratingColour::red_cyan);
  const auto shouted = parse_grating_name("FullField_0deg_4.5SF_7_BW.JPEG");
  ASSERT_TRUE(shouted.has_value());
  EXPECT_EQ(shouted->cycles_per_image, 4.5);
  EXPECT_EQ(shouted->colour, GratingColour::black_white);
  const auto bare = parse_grating_name("fullfield_0deg_4sf_x.jpg");
  ASSERT_TRUE(bare.has_value());
  EXPECT_FALSE(bare->phase_rad.has_value());
  EXPECT_FALSE(bare->colour.has_value());
  for (const char* name : {"fullfield_0.0deg_5.5sf_0.0phase_bw.png", "fullfield_deg_5.5sf_0.0phase_bw.jpg", "",
                           "fullfield_1.2.3deg_5.5sf_0.0phase_bw.jpg", "grating_0.0deg_5.5sf_bw.jpg", "readme.txt",
                           "fullfield_0.0deg_5.5sf_1..3phase_bw.jpg", "fullfield_.deg_5.5sf_0.0phase_bw.jpg",
                           "._fullfield_0.0deg_5.5sf_0.0phase_bw.jpg"}) {
    EXPECT_FALSE(parse_grating_name(name).has_value()) << name;
  }
}

GratingGrid small_grid() {
  return {{0.0, 60.0, 120.0}, {4.0, 8.25}, even_phases(4), {GratingColour::black_white, GratingColour::red_cyan}};
}

TEST(GratingFolder, GivesBackWhatWasWritten) {
  TempDir folder;
  const GratingGrid grid = small_grid();
  write_gratings(folder / "gratings", grid, 40, 48);
  const GratingPictures read = read_gratings(folder / "gratings", 40, 48, 3, {});
  EXPECT_EQ(read.grid.orientations_deg, grid.orientations_deg);
  EXPECT_NEAR(read.grid.cycles_per_image[1], 8.25, 0.0501);
  EXPECT_EQ(read.grid.colours, grid.colours);
  // Rounded in the name, and restored.
  EXPECT_EQ(read.grid.phases_rad, grid.phases_rad);
  std::vector<float> pixels(40 * 48 * 3);
  for (const int64_t i : {int64_t{0}, int64_t{13}, grid.size() - 1}) {
    read.draw(i, pixels.data());
    const std::vector<float> expected = drawn(grid.at(i), 40, 48, 3);
    double worst = 0.0;
    for (size_t p = 0; p < pixels.size(); ++p) {
      worst = std::max(worst, std::abs(static_cast<double>(pixels[p]) - static_cast<double>(expected[p])));
    }
    // A quality of 100 leaves rounding: of the DCT's coefficients, of the colours, of 8 bits.
    EXPECT_LT(worst, 5.0 / 255.0) << "grating " << i;
  }
  EXPECT_EQ(read_image(folder / "gratings" / grating_names(grid)[0]).channels, 3);

  // Another size, both sides; a network that sees luminance takes half of them.
  const GratingPictures grey = read_gratings(folder / "gratings", 20, 24, 1, {});
  EXPECT_EQ(grey.grid.size(), grid.size() / 2);
  std::vector<float> small(20 * 24);
  grey.draw(0, small.data());
  const std::vector<float> expected = drawn({0.0, 4.0, 0.0, GratingColour::black_white}, 20, 24, 1);
  double sum = 0.0;
  for (size_t p = 0; p < small.size(); ++p) {
    // Half a pixel of the larger picture further right, and a little flatter.
    sum += (static_cast<double>(small[p]) - 0.5) * (static_cast<double>(expected[p]) - 0.5);
  }
  EXPECT_GT(sum / static_cast<double>(small.size()), 0.08) << "of 0.125 for the very same wave";
}

testing::AssertionResult refused(const std::filesystem::path& folder, std::initializer_list<std::string> parts,
                                 int channels = 3) {
  return test::throws_with<ConfigError>([&] { read_gratings(folder, 16, 16, channels, {}); }, parts);
}

TEST(GratingFolder, RefusesWhatIsNoGrid) {
  TempDir folder;
  EXPECT_TRUE(refused(folder / "none", {"no such folder"}));
  std::filesystem::create_directories(folder / "empty");
  EXPECT_TRUE(refused(folder / "empty", {"is empty", "fullfield_"}));

  std::filesystem::create_directories(folder / "photos");
  for (int i = 0; i < 7; ++i) std::ofstream(folder / "photos" / ("photo" + std::to_string(i) + ".jpg")) << "x";
  EXPECT_TRUE(refused(folder / "photos",
                      {"no grating is there; 7 names do not parse", "photo0.jpg, photo1.jpg", "and 2 more"}));

  write_gratings(folder / "one", {{45.0}, {4.0}, {0.0, 1.0, 2.0}, {GratingColour::black_white}}, 16, 16);
  EXPECT_TRUE(refused(folder / "one", {"1 orientation; at least 3"}));

  write_gratings(folder / "gap", small_grid(), 16, 16);
  std::filesystem::remove(folder / "gap" / "fullfield_60.0deg_4.0sf_1.6phase_rc.jpg");
  EXPECT_TRUE(refused(folder / "gap", {"make 48 gratings; 1 missing: fullfield_60.0deg_4.0sf_1.6phase_rc.jpg"}));

  write_gratings(folder / "twice", small_grid(), 16, 16);
  std::filesystem::copy(folder / "twice" / "fullfield_0.0deg_4.0sf_0.0phase_bw.jpg",
                        folder / "twice" / "fullfield_0deg_4sf_0phase_bw.jpg");
  EXPECT_TRUE(refused(folder / "twice", {"show the same grating"}));

  write_gratings(folder / "red", {{0.0, 60.0, 120.0}, {4.0}, {0.0}, {GratingColour::red_cyan}}, 16, 16);
  EXPECT_TRUE(refused(folder / "red", {"luminance alone"}, 1));
}

TEST(GratingFolder, LeavesOtherFilesOutAndSaysSo) {
  TempDir folder;
  write_gratings(folder.path(), small_grid(), 16, 16);
  std::ofstream(folder / "Thumbs.db") << "x";
  std::ofstream(folder / "fullfield_12deg.jpg") << "x";
  std::vector<std::string> warnings;
  const GratingPictures read =
      read_gratings(folder.path(), 16, 16, 3, [&](const std::string& text) { warnings.push_back(text); });
  EXPECT_EQ(read.grid.size(), 48);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("2 names do not parse"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("Thumbs.db, fullfield_12deg.jpg"), std::string::npos) << warnings[0];
}

TEST(GratingGrid, FindsUnevenOrientations) {
  GratingGrid grid = small_grid();
  EXPECT_FALSE(grid.uneven());
  EXPECT_FALSE((GratingGrid{even_orientations(7), {1}, {0}, {GratingColour::black_white}}).uneven());
  grid.orientations_deg = {0.0, 45.0, 90.0, 135.0, 180.0};  // 180° is 0° again
  EXPECT_TRUE(grid.uneven());
  grid.orientations_deg = {0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0};
  EXPECT_FALSE(grid.uneven());
}

}  // namespace
}  // namespace striate
