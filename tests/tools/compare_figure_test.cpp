#include "tools/experiments/compare_figure.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tool.h"

namespace striate {
namespace {

using test::Picture;
using test::TempDir;

MetricsTable metrics(int epochs, double rate, double seconds) {
  MetricsTable table;
  table.columns = {"epoch",        "learning_rate", "train_loss", "train_top1",        "val_loss", "val_top1",
                   "val_macro_f1", "test_loss",     "test_top1",  "images_per_second", "seconds"};
  table.rows.push_back({0, {}, {}, {}, 2.3, 0.1, {}, {}, {}, {}, 0.4});
  for (int e = 1; e <= epochs; ++e) {
    const double loss = 0.2 + 2.0 * std::exp(-rate * e);
    const bool last = e == epochs;
    table.rows.push_back({e, 0.01, loss, 1 - loss / 2.5, loss + 0.1, 1 - loss / 2.4, 0.5,
                          last ? std::optional(0.3) : std::nullopt, last ? std::optional(0.5432) : std::nullopt, 900,
                          seconds});
  }
  return table;
}

class Comparison : public testing::TestWithParam<int> {};

TEST_P(Comparison, HasACurveABarAndARowForEveryRun) {
  TempDir folder;
  std::vector<NamedMetrics> runs;
  for (int r = 0; r < GetParam(); ++r) {
    runs.emplace_back(fmt::format("rate={} run {}.", r + 1, r), metrics(3 + 5 * (r % 3), 0.1 + 0.05 * r, 7.25 + r));
  }
  draw_run_comparison(runs, "alexnet_mini on \"cifar10\": learning rates", folder / "compare.png");
  const Picture picture = Picture::read(folder / "compare.png");
  EXPECT_EQ(picture.width, 2000);
  const std::vector<uint32_t> colours = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x222222};
  for (size_t c = 0; c < colours.size() - 1; ++c) {
    const bool used = c < runs.size();
    EXPECT_EQ(picture.count(colours[c]) > 400, used) << c;
  }
  draw_run_comparison(runs, "the same", folder / "compare.svg");
  const std::string svg = test::read_text(folder / "compare.svg");
  for (int r = 0; r < GetParam(); ++r) {
    EXPECT_NE(svg.find(fmt::format("run {}.", r)), std::string::npos) << r;
    EXPECT_NE(svg.find(fmt::format(" {:.3g}<", 7.25 + r)), std::string::npos) << r;
  }
  EXPECT_NE(svg.find("54.32"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Runs, Comparison, testing::Values(1, 3, 30), testing::PrintToStringParamName());

TEST(ComparisonEdges, RunsThatDivergedOrHaveNotBegun) {
  TempDir folder;
  MetricsTable diverged = metrics(4, 0.5, 1);
  diverged.rows[3][2] = diverged.rows[4][2] = std::nullopt;
  diverged.rows[2][2] = 1e9;
  MetricsTable fresh = metrics(0, 0.5, 1), nothing = fresh;
  nothing.rows.clear();
  draw_run_comparison({{"good", metrics(4, 0.5, 1)}, {"bad", diverged}, {"fresh", fresh}, {"nothing", nothing}},
                      "edges", folder / "edges.svg");
  const std::string svg = test::read_text(folder / "edges.svg");
  EXPECT_NE(svg.find("diverged"), std::string::npos);
  EXPECT_NE(svg.find("cut off"), std::string::npos);
  draw_run_comparison({{"fresh", fresh}}, "", folder / "fresh.png");
  EXPECT_GT(Picture::read(folder / "fresh.png").count(0x0072B2), 20) << "what was measured before training";
  EXPECT_THROW(draw_run_comparison({}, "none", folder / "none.png"), ShapeError);
  EXPECT_THROW(draw_run_comparison({{"x", {{"epoch"}, {}}}}, "no columns", folder / "none.png"), Error);
}

TEST(DistinctNames, AreAsShortAsTheyStayDifferent) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(distinct_names({"runs/a", "runs/b/"}), (Names{"a", "b"}));
  EXPECT_EQ(distinct_names({"runs/a/x", "runs/b/x"}), (Names{"a/x", "b/x"}));
  EXPECT_EQ(distinct_names({"/one/x", "x"}), (Names{"one/x", "x"}));
  EXPECT_EQ(distinct_names({"runs/a", "runs/a"}), (Names{"runs/a", "runs/a"}));
}

}  // namespace
}  // namespace striate
