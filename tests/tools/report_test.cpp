#include "tools/experiments/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "tests/support/temp_dir.h"
#include "tests/tools/browser.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

const std::vector<std::string> kTuningColumns = {"kernel",
                                                 "responsive",
                                                 "preferred_orientation_deg",
                                                 "preferred_sf_cycles_per_image",
                                                 "preferred_sf_cycles_per_pixel",
                                                 "preferred_sf_cycles_per_degree",
                                                 "circular_variance",
                                                 "circular_variance_at_preferred_sf",
                                                 "orientation_selectivity",
                                                 "global_orientation_selectivity",
                                                 "orientation_bandwidth_deg",
                                                 "sf_bandwidth_octaves",
                                                 "f1_f0",
                                                 "peak_response"};

/// Gratings in a window whose contrast grows from epoch to epoch.
KernelHistory gratings(int64_t epochs, int64_t count, int64_t size) {
  KernelHistory history{"features.0", "red, green and blue", count, size, size, 3, {}, {}};
  for (int64_t e = 0; e < epochs; ++e) {
    history.epochs.push_back(e);
    for (int64_t k = 0; k < count; ++k) {
      const double angle = std::numbers::pi * static_cast<double>(k) / static_cast<double>(count);
      const double contrast = static_cast<double>(e + 1) / static_cast<double>(epochs);
      for (int64_t y = 0; y < size; ++y) {
        for (int64_t x = 0; x < size; ++x) {
          const double along = static_cast<double>(x) * std::cos(angle) - static_cast<double>(y) * std::sin(angle);
          const double noise = std::fmod(std::sin(static_cast<double>(7 * x + 13 * y + 31 * k)) * 1e4, 1.0);
          const double value = contrast * std::sin(along + static_cast<double>(k)) + (1.0 - contrast) * noise;
          for (int c = 0; c < 3; ++c)
            history.pixels.push_back(static_cast<uint8_t>(128.0 + 120.0 * value * (c == 2 && k % 3 == 0 ? -1 : 1)));
        }
      }
    }
  }
  return history;
}

/// Of those kernels; the last one never responds.
TuningHistory tuned(int64_t epochs, int64_t count) {
  TuningHistory history;
  for (int o = 0; o < 8; ++o) history.orientations.push_back(22.5 * o);
  for (int f = 0; f < 8; ++f) history.frequencies.push_back(5.5 + 13.0625 * f);
  history.columns = kTuningColumns;
  for (int64_t e = 0; e < epochs; ++e) {
    history.epochs.push_back(e);
    for (int64_t k = 0; k < count; ++k) {
      const bool silent = k == count - 1;
      const double preferred = 180.0 * static_cast<double>(k) / static_cast<double>(count);
      const double cv = 0.9 - 0.6 * static_cast<double>(e + 1) / static_cast<double>(epochs) *
                                  (0.3 + 0.7 * static_cast<double>(k % 7) / 6.0);
      const auto known = [&](double value) { return silent ? std::nullopt : std::optional(value); };
      for (const auto& value : {std::optional(static_cast<double>(k)), std::optional(silent ? 0.0 : 1.0),
                                known(preferred), known(18.56), known(0.08), known(2.32), known(cv), known(cv * 0.9),
                                known(0.6), known(1.0 - cv * 0.9), known(24.5), known(1.75), known(1.57), known(2.5)}) {
        history.table.push_back(value);
      }
      history.peaks.push_back(silent ? 0.0f : 2.5f);
      for (const double orientation : history.orientations) {
        for (const double frequency : history.frequencies) {
          const double apart = (orientation - preferred) * std::numbers::pi / 180.0;
          const double response =
              std::pow(std::cos(apart), 4.0) * std::exp(-std::pow(std::log2(frequency / 18.56), 2.0));
          history.curves.push_back(silent ? 0 : static_cast<uint8_t>(255.0 * response));
        }
      }
    }
  }
  return history;
}

MetricsTable metrics_of(int64_t epochs) {
  MetricsTable table;
  table.columns = {"epoch",    "learning_rate", "train_loss", "train_top1",
                   "val_loss", "val_top1",      "test_loss",  "test_top1"};
  for (int64_t e = 0; e < epochs; ++e) {
    const double t = static_cast<double>(e);
    const auto trained = [&](double value) { return e == 0 ? std::nullopt : std::optional(value); };
    const auto at_end = [&](double value) { return e + 1 == epochs ? std::optional(value) : std::nullopt; };
    table.rows.push_back({t, 0.01 / (1.0 + t), trained(2.3 * std::exp(-0.1 * t)),
                          trained(1.0 - 0.9 * std::exp(-0.1 * t)), 2.3 * std::exp(-0.08 * t),
                          1.0 - 0.9 * std::exp(-0.08 * t), at_end(0.31), at_end(0.907)});
  }
  return table;
}

Report full_report(int64_t epochs, int64_t kernels, size_t classes) {
  Report report;
  report.title = "alexnet on <photographs> & more";
  report.headline = "90.70 % of the test part";
  report.metrics = metrics_of(epochs);
  report.kernels = gratings(epochs, kernels, 11);
  report.tuning = tuned(epochs, kernels);
  report.split = "test";
  for (size_t c = 0; c < classes; ++c)
    report.classes.push_back(c == 1 ? "a </script><b>name</b>" : "class number " + std::to_string(c));
  report.confusion.assign(classes, std::vector<int64_t>(classes, 0));
  for (size_t c = 0; c < classes; ++c) {
    report.confusion[c][c] = 90;
    report.confusion[c][(c * c + 1) % classes] += 10;
  }
  report.facts = {{"machine", "two cores"}};
  report.configuration = "model: {name: alexnet}  # </script>\n";
  return report;
}

std::filesystem::path write_page(const TempDir& folder, const Report& report) {
  const std::filesystem::path page = folder / "report.html";
  write_text(page, report_page(report));
  return page;
}

TEST(ReportPageTest, ThirtyEpochsOf96KernelsAndAThousandClassesStayUnderFiveMegabytes) {
  EXPECT_LT(report_page(full_report(30, 96, 1000)).size(), 5'000'000u);
}

TEST(ReportPageTest, NamesCannotEndTheScriptOrBecomeMarkup) {
  const std::string page = report_page(full_report(2, 4, 3));
  size_t ends = 0;
  for (size_t at = 0; (at = page.find("</script>", at)) != std::string::npos; ++at) ++ends;
  EXPECT_EQ(ends, 2u) << "the data's and the script's own";
  EXPECT_EQ(page.find("<b>name"), std::string::npos);
  EXPECT_NE(page.find("<title>alexnet on &lt;photographs&gt; &amp; more</title>"), std::string::npos);
}

TEST(ReportPageTest, AsksTheNetworkForNothing) {
  const std::string page = report_page(full_report(2, 4, 3));
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const char* reference : {"src=\"http", "href=\"http", "url(", "import "}) {
    EXPECT_EQ(page.find(reference), std::string::npos) << reference;
  }
}

/// In headless Chromium. STRIATE_REQUIRE_BROWSER makes its absence a failure.
class ReportInBrowserTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = Browser::missing();
    if (missing.empty()) return;
    if (std::getenv("STRIATE_REQUIRE_BROWSER") != nullptr) FAIL() << missing;
    GTEST_SKIP() << missing;
  }
  TempDir folder_;
};

TEST_F(ReportInBrowserTest, DrawsEverySectionWithoutAComplaint) {
  Browser browser(write_page(folder_, full_report(30, 96, 10)));
  EXPECT_EQ(browser.text("document.title"), "alexnet on <photographs> & more");
  EXPECT_EQ(browser.number("document.querySelectorAll('main > section:not([hidden])').length"), 5)
      << "curves, kernels, selectivity, confusion and set-up; there are no samples";
  EXPECT_EQ(browser.number("document.querySelectorAll('#curve-charts .chart').length"), 3);
  EXPECT_EQ(browser.number("document.querySelectorAll('.kernel').length"), 96);
  EXPECT_EQ(browser.number("document.querySelectorAll('#confusion-matrix td').length"), 100);
  EXPECT_EQ(browser.text("document.querySelectorAll('#confusion-matrix tbody th')[1].textContent"),
            "a </script><b>name</b>");
  EXPECT_EQ(browser.text("document.querySelector('#configuration').textContent"),
            "model: {name: alexnet}  # </script>\n");
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST_F(ReportInBrowserTest, AClickChoosesAKernelAndItsCurvesFollow) {
  Browser browser(write_page(folder_, full_report(30, 96, 10)));
  const std::string path = "document.querySelector('#kernel-detail .head path').getAttribute('d')";
  const std::string before = browser.text(path);
  browser.click(".kernel[data-kernel=\"24\"]");
  EXPECT_EQ(browser.text("document.querySelector('#kernel-detail h3').textContent"), "Kernel 24, epoch 29");
  EXPECT_EQ(browser.text("document.querySelector('[data-measure=preferred_orientation_deg]').textContent"), "45.0°");
  EXPECT_NE(browser.text(path), before);
  EXPECT_EQ(browser.text("[...document.querySelectorAll('.kernel[aria-pressed=true]')].map((b) => b.dataset.kernel)"),
            "24");
  browser.click(".kernel[data-kernel=\"95\"]");
  EXPECT_NE(browser.text("document.querySelector('#kernel-detail').textContent").find("Not responsive"),
            std::string::npos);
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST_F(ReportInBrowserTest, TheSliderChangesKernelsMeasuresAndHistogram) {
  Browser browser(write_page(folder_, full_report(30, 96, 10)));
  browser.click(".kernel[data-kernel=\"10\"]");
  const std::string pixels =
      "document.querySelector('.kernel canvas').getContext('2d').getImageData(0, 0, 11, 11).data.join()";
  const std::string cv = "document.querySelector('[data-measure=circular_variance]').textContent";
  const std::string note = "document.querySelector('#cv-note').textContent";
  const std::string last_pixels = browser.text(pixels), last_cv = browser.text(cv), last_note = browser.text(note);
  browser.press("#epoch", "Home");
  EXPECT_EQ(browser.text("document.querySelector('#epoch-value').textContent"), "0");
  EXPECT_EQ(browser.text("document.querySelector('#kernel-detail h3').textContent"), "Kernel 10, epoch 0");
  EXPECT_NE(browser.text(pixels), last_pixels);
  EXPECT_NE(browser.text(cv), last_cv);
  EXPECT_NE(browser.text(note), last_note);
  EXPECT_NE(last_note.find("1 not responsive"), std::string::npos) << last_note;
  browser.press("#epoch", "ArrowRight");
  EXPECT_EQ(browser.text("document.querySelector('#epoch-value').textContent"), "1");
}

TEST_F(ReportInBrowserTest, EverythingIsReachedByKeys) {
  Browser browser(write_page(folder_, full_report(5, 12, 10)));
  EXPECT_EQ(browser.number("document.querySelectorAll('.kernel[tabindex=\"0\"]').length"), 1) << "one tab stop";
  browser.press(".kernel[data-kernel=\"0\"]", "ArrowRight");
  EXPECT_EQ(browser.text("document.querySelector('#kernel-detail').dataset.kernel"), "1");
  EXPECT_EQ(browser.text("document.activeElement.dataset.kernel"), "1");
  browser.press("#curve-charts svg[tabindex]", "Home");
  EXPECT_EQ(browser.text("document.querySelector('#curve-charts .readout').textContent"), "epoch 0: validation 2.3000");
  browser.press("#curve-charts svg[tabindex]", "ArrowRight");
  EXPECT_EQ(browser.text("document.querySelector('#curve-charts .readout').textContent"),
            "epoch 1: training 2.0811, validation 2.1232");
}

TEST_F(ReportInBrowserTest, APhoneScrollsInOneDirectionOnly) {
  Browser browser(write_page(folder_, full_report(30, 96, 10)), 360, 740);
  EXPECT_LE(browser.number("document.documentElement.scrollWidth"), 360);
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST_F(ReportInBrowserTest, ARunWithoutAnalysisOrDataHasNoEmptySections) {
  Report report;
  report.title = "lenet on mnist";
  report.metrics = metrics_of(1);
  Browser browser(write_page(folder_, report));
  EXPECT_EQ(browser.text("[...document.querySelectorAll('main > section:not([hidden])')].map((s) => s.id)"),
            "curves,setup");
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST_F(ReportInBrowserTest, AThousandClassesAreACanvas) {
  Browser browser(write_page(folder_, full_report(2, 4, 1000)));
  EXPECT_EQ(browser.number("document.querySelector('#confusion-matrix canvas').width"), 1000);
  EXPECT_EQ(browser.number("document.querySelectorAll('#confusion-pairs li').length"), 10);
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST_F(ReportInBrowserTest, ARunOfTrainBecomesAPageWithItsKernelsAndPictures) {
  const std::filesystem::path run = folder_ / "run";
  train_tiny(run, {"--set", "model.width=1", "--set", "train.epochs=1", "--set", "analysis.kernels=true", "--set",
                   "analysis.tuning=true"});
  const Outcome outcome = run_tool("visualize", {"report", "--run", run.string(), "--count", "3"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  Browser browser(run / "report.html");
  EXPECT_EQ(browser.text("[...document.querySelectorAll('main > section:not([hidden])')].map((s) => s.id)"),
            "curves,kernels,selectivity,confusion,samples,setup");
  EXPECT_EQ(browser.number("document.querySelectorAll('.kernel').length"), 32);
  EXPECT_EQ(browser.text("[...document.querySelectorAll('#epoch')].map((s) => s.max)"), "1") << "epochs 0 and 1";
  EXPECT_EQ(browser.number("document.querySelectorAll('.pictures img').length"), 6);
  EXPECT_EQ(
      browser.number("[...document.querySelectorAll('.pictures img')].filter((i) => i.naturalWidth === 32).length"), 6)
      << "pictures that the browser could decode";
  // Right and wrong ones of the page are those of evaluate.
  const Outcome evaluated = run_tool("evaluate", {"--run", run.string(), "--json", (folder_ / "e.json").string()});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const auto result = nlohmann::json::parse(read_text(folder_ / "e.json"));
  const int64_t right = std::lround(result["top1"].get<double>() * result["images"].get<double>());
  EXPECT_EQ(browser.text("document.querySelector('#right-title').textContent"),
            "Right, of " + std::to_string(right) + " in the test part");
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

TEST(ReportToolTest, ARunWithoutAnalysisShowsItsBestWeightsAndSaysSo) {
  TempDir folder;
  const std::filesystem::path run = folder / "run";
  train_tiny(run, {"--set", "train.epochs=1"});
  const Outcome outcome =
      run_tool("visualize", {"report", "--run", run.string(), "--output", (folder / "page.html").string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string page = read_text(folder / "page.html");
  EXPECT_NE(page.find("\"kernels\":{"), std::string::npos);
  EXPECT_NE(page.find("\"tuning\":{\"epochs\":[1]"), std::string::npos);
  EXPECT_NE(page.find("The run kept no kernels on its way"), std::string::npos);
}

TEST(ReportToolTest, WantsARun) {
  const Outcome outcome = run_tool("visualize", {"report", "--model", "lenet"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("--run DIR is missing"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace striate::test
