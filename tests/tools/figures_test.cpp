#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kernels/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tools/experiments/confusion_figure.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/training_figure.h"

namespace striate {
namespace {

using test::Picture;
using test::TempDir;

constexpr uint32_t kBlue = 0x0072B2, kOrange = 0xD55E00, kGreen = 0x009E73, kPurple = 0xAA4499;

void write(const std::filesystem::path& file, const std::string& text) { std::ofstream(file) << text; }

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

constexpr const char* kHeader =
    "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,val_macro_f1,test_loss,test_top1,images_per_second,"
    "seconds\n";

std::string metrics(int epochs, bool with_test) {
  std::string text = kHeader;
  text += "0,,,,2.3026,0.1,0.02,,,,1.5\n";
  for (int e = 1; e <= epochs; ++e) {
    const double loss = 0.2 + 2.0 * std::exp(-e / 3.0);
    text += fmt::format("{},{},{},{},{},{},0.5,{},900,12\n", e, 0.01 * std::pow(0.1, 3 * e / (epochs + 1)), loss,
                        1 - loss / 2.5, loss + 0.1, 1 - loss / 2.4, with_test && e == epochs ? "0.31,0.9" : ",");
  }
  return text;
}

int leftovers(const std::filesystem::path& folder) {
  int partial = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    partial += entry.path().extension() == ".partial";
  return partial;
}

class TrainingFigure : public testing::TestWithParam<int> {};

TEST_P(TrainingFigure, ShowsEveryMeasuredCurve) {
  TempDir folder;
  write(folder / "metrics.csv", metrics(GetParam(), true));
  draw_training_metrics(MetricsTable::read(folder / "metrics.csv"), "alexnet_mini on fashion_mnist",
                        folder / "training_metrics.png");
  const Picture picture = Picture::read(folder / "training_metrics.png");
  EXPECT_GE(picture.width, 1200);
  EXPECT_GE(picture.height, 1200);
  // Curves, or at one epoch at least their points.
  for (const uint32_t colour : {kBlue, kOrange, kGreen, kPurple}) EXPECT_GT(picture.count(colour), 100) << colour;
  EXPECT_GT(picture.count(0xFFFFFF), picture.width * picture.height / 2) << "a light background";
  EXPECT_EQ(leftovers(folder.path()), 0);
}

INSTANTIATE_TEST_SUITE_P(Epochs, TrainingFigure, testing::Values(1, 7, 90), testing::PrintToStringParamName());

TEST(TrainingFigureEdges, BeforeTrainingAndWithoutValidation) {
  TempDir folder;
  write(folder / "metrics.csv", std::string(kHeader) + "0,,,,2.3026,0.1,0.02,,,,1.5\n");
  draw_training_metrics(MetricsTable::read(folder / "metrics.csv"), "row 0 alone", folder / "a.png");
  EXPECT_GT(Picture::read(folder / "a.png").count(kOrange), 20);

  write(folder / "metrics.csv",
        std::string(kHeader) + "0,,,,,,,,,,0\n1,0.1,1.5,0.4,,,,,,800,3\n2,0.1,1.2,0.5,,,,,,800,3\n");
  draw_training_metrics(MetricsTable::read(folder / "metrics.csv"), "nothing validated", folder / "b.png");
  const Picture picture = Picture::read(folder / "b.png");
  EXPECT_GT(picture.count(kBlue), 100);
  EXPECT_EQ(picture.count(kOrange), 0);
  EXPECT_EQ(picture.count(kGreen), 0);
}

TEST(MetricsTable, NamesTheBrokenLine) {
  TempDir folder;
  EXPECT_THROW(MetricsTable::read(folder / "none.csv"), IoError);
  write(folder / "short.csv", "epoch,loss\n0,1\n1\n");
  write(folder / "word.csv", "epoch,loss\n0,much\n");
  for (const auto& [name, expected] : {std::pair{"short.csv", "short.csv:3"}, std::pair{"word.csv", "'much'"}}) {
    try {
      MetricsTable::read(folder / name);
      ADD_FAILURE() << name << " was accepted";
    } catch (const IoError& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  }
  write(folder / "good.csv", "epoch,loss\n0,\n1,0.25\n");
  const MetricsTable table = MetricsTable::read(folder / "good.csv");
  EXPECT_FALSE(table.column("loss")[0].has_value());
  EXPECT_EQ(table.column("loss")[1], 0.25);
  EXPECT_THROW(table.column("accuracy"), Error);
}

TEST(Confusion, DrawsAndTabulatesAwkwardNames) {
  TempDir folder;
  const std::vector<std::string> names = {"T-shirt/top", "under_score {x}^2", "50 % \"cotton\", wool",
                                          "back\\slash~&@"};
  ConfusionMatrix counts(4, std::vector<int64_t>(4, 1));
  for (size_t i = 0; i < 3; ++i) counts[i][i] = 97;
  counts[3] = {0, 0, 0, 0};  // a class without images
  draw_confusion(counts, names, "net_1 on \"data\"", folder / "confusion.png");
  const Picture picture = Picture::read(folder / "confusion.png");
  EXPECT_GT(picture.count(0xFFFFFF), 1000) << "the row without images is white";
  write_confusion_csv(counts, names, folder / "confusion.csv");
  EXPECT_EQ(text_of(folder / "confusion.csv"),
            "true\\predicted,T-shirt/top,under_score {x}^2,\"50 % \"\"cotton\"\", wool\",back\\slash~&@\n"
            "T-shirt/top,97,1,1,1\nunder_score {x}^2,1,97,1,1\n\"50 % \"\"cotton\"\", wool\",1,1,97,1\n"
            "back\\slash~&@,0,0,0,0\n");
  EXPECT_THROW(draw_confusion(counts, {"one"}, "", folder / "x.png"), ShapeError);
  EXPECT_EQ(leftovers(folder.path()), 0);
}

class ConfusionSize : public testing::TestWithParam<int> {};

TEST_P(ConfusionSize, HasRoomForEveryClass) {
  TempDir folder;
  const auto n = static_cast<size_t>(GetParam());
  ConfusionMatrix counts(n, std::vector<int64_t>(n, 0));
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) counts[i][i] = 5, names.push_back(fmt::format("a class with a long name {}", i));
  draw_confusion(counts, names, "all right", folder / "confusion.png");
  const Picture picture = Picture::read(folder / "confusion.png");
  // The diagonal, and nothing else, has the darkest colour.
  EXPECT_GE(picture.width, static_cast<int>(n));
  EXPECT_GE(picture.count(0x08306B), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Classes, ConfusionSize, testing::Values(2, 10, 100, 1000), testing::PrintToStringParamName());

/// Pixels that are not white, from (x0, y0) to before (x1, y1).
int64_t drawn(const Picture& picture, int x0, int y0, int x1, int y1) {
  int64_t count = 0;
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const uint8_t* pixel =
          &picture.rgb[3 * (static_cast<size_t>(y) * static_cast<size_t>(picture.width) + static_cast<size_t>(x))];
      count += pixel[0] < 0xFF || pixel[1] < 0xFF || pixel[2] < 0xFF;
    }
  }
  return count;
}

TEST(Confusion, LongNamesHaveRoomInBothMargins) {
  TempDir folder;
  for (const char* name : {"WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "MMMM_WWWW_MAMMAL",
                           "white wolf, Arctic wolf, Canis lupus tundrarum", "ÉÉÉÉÉÉÉÉÉÉÉÉ Œuvre", "i"}) {
    for (const size_t n : {size_t{2}, size_t{10}, size_t{100}}) {
      ConfusionMatrix counts(n, std::vector<int64_t>(n, 1));
      draw_confusion(counts, std::vector<std::string>(n, name), "long names", folder / "confusion.png");
      const Picture picture = Picture::read(folder / "confusion.png");
      const int below_title = 130;
      EXPECT_EQ(drawn(picture, 0, below_title, 10, picture.height), 0) << name << " leaves the picture, " << n;
      EXPECT_EQ(drawn(picture, 56, below_title, 64, picture.height), 0) << name << " meets 'True class', " << n;
      EXPECT_EQ(drawn(picture, 0, picture.height - 8, picture.width, picture.height), 0) << name << " " << n;
      EXPECT_EQ(drawn(picture, 0, picture.height - 64, picture.width, picture.height - 56), 0)
          << name << " meets 'Predicted class', " << n;
    }
  }
}

TEST(Figure, SaysWhyItCannotBeDrawn) {
  TempDir folder;
  Figure wrong(200, 200);
  wrong.line("plot no_such_function(x)");
  try {
    wrong.save(folder / "wrong.png");
    ADD_FAILURE() << "gnuplot accepted it";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no_such_function"), std::string::npos) << error.what();
  }
  Figure good(200, 200);
  good.line("plot x");
  EXPECT_THROW(good.save(folder / "none" / "figure.png"), IoError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  good.save(folder / "it's a name.png");
  EXPECT_EQ(Picture::read(folder / "it's a name.png").width, 200);
}

TEST(Figure, IsAPngOrAnSvgByItsName) {
  TempDir folder;
  Figure figure(400, 300);
  figure.line("set label 'a label' at screen 0.5,0.5 font ',18'").line("plot x");
  figure.save(folder / "figure.SVG");
  const std::string svg = text_of(folder / "figure.SVG");
  EXPECT_NE(svg.find("viewBox=\"0 0 400 300\""), std::string::npos) << svg.substr(0, 400);
  EXPECT_NE(svg.find("a label"), std::string::npos);
  // 18 points are 24 pixels, as in the PNG.
  EXPECT_NE(svg.find("font-size=\"24.00\""), std::string::npos);
  EXPECT_NE(svg.find("font-family=\"DejaVu Sans, Verdana, sans-serif\""), std::string::npos);
  EXPECT_THROW(figure.save(folder / "figure.jpg"), ConfigError);
  EXPECT_THROW(figure.save(folder / "figure"), ConfigError);
  figure.save(folder / "figure.png");
  EXPECT_EQ(Picture::read(folder / "figure.png").height, 300);
}

TEST(Figure, NamesThePackageWhereGnuplotIsMissing) {
  TempDir folder;
  const std::string path = std::getenv("PATH");
  EXPECT_TRUE(gnuplot_available());
  setenv("PATH", folder.path().c_str(), 1);
  EXPECT_FALSE(gnuplot_available());
  try {
    Figure(200, 200).line("plot x").save(folder / "figure.png");
    ADD_FAILURE() << "drawn without gnuplot";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("gnuplot-nox"), std::string::npos) << error.what();
  }
  setenv("PATH", path.c_str(), 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace striate
