#include "tools/experiments/embedding_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

constexpr size_t kMostNamed = 20;
constexpr int kPanel = 900, kFont = 20;

/// Okabe and Ito's colours without the yellow, twice and a half with other markers; the ten first differ in both.
struct Look {
  const char* colour;
  int point;
};
Look look_of(size_t shown) {
  constexpr std::array kColours = {colour::kBlue, colour::kOrange, colour::kGreen, "#CC79A7",
                                   "#E69F00",     "#56B4E9",       colour::kText};
  constexpr std::array kPoints = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};
  return {kColours[shown % kColours.size()], kPoints[shown % kPoints.size()]};
}

/// With a margin, and some width where all points coincide.
std::pair<double, double> range_of(const std::vector<float>& points, size_t axis) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (size_t i = axis; i < points.size(); i += 2) {
    low = std::min(low, double{points[i]});
    high = std::max(high, double{points[i]});
  }
  const double margin = high > low ? 0.05 * (high - low) : 1.0;
  return {low - margin, high + margin};
}

}  // namespace

void draw_embedding(const std::vector<EmbeddingPanel>& panels, const std::vector<int32_t>& labels,
                    const std::vector<std::string>& names, const std::string& title, const std::string& subtitle,
                    const std::filesystem::path& file) {
  require<ShapeError>(!panels.empty() && !labels.empty(), "embedding: there is nothing to draw");
  for (const EmbeddingPanel& panel : panels) {
    require<ShapeError>(panel.points.size() == 2 * labels.size(), "embedding: {} numbers for {} points in a plane",
                        panel.points.size(), labels.size());
  }
  // Only classes that have a point need a place in the legend.
  std::vector<int32_t> present = labels;
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  require<ShapeError>(present.front() >= 0 && static_cast<size_t>(present.back()) < names.size(),
                      "embedding: a label {} of {} classes", present.front() < 0 ? present.front() : present.back(),
                      names.size());
  const bool named = present.size() <= kMostNamed;

  constexpr int kLeft = 150, kBetween = 190, kTop = 190, kBottom = 120, kLegendText = 440;
  const int panels_width = static_cast<int>(panels.size()) * (kPanel + kBetween) - kBetween;
  const int legend = kLeft + panels_width + 50;
  double longest = 0.0;
  if (named) {
    for (const int32_t c : present) {
      longest = std::max(longest, text_width(fitted(names[static_cast<size_t>(c)], kFont - 1, kLegendText), kFont - 1));
    }
  }
  const int width = legend + (named ? std::min(kLegendText, static_cast<int>(longest)) + 90 : 200);
  const int height = kTop + kPanel + kBottom;
  const auto x_of = [&](double x) { return x / width; };
  const auto y_of = [&](double y) { return 1.0 - y / height; };

  Figure figure(width, height, kFont);
  for (size_t p = 0; p < panels.size(); ++p) {
    if (named) {
      for (size_t c = 0; c < present.size(); ++c) {
        std::vector<std::vector<std::optional<double>>> rows;
        for (size_t i = 0; i < labels.size(); ++i) {
          if (labels[i] == present[c]) rows.push_back({panels[p].points[2 * i], panels[p].points[2 * i + 1]});
        }
        figure.data(fmt::format("panel{}class{}", p, c), rows);
      }
    } else {
      std::vector<std::vector<std::optional<double>>> rows;
      for (size_t i = 0; i < labels.size(); ++i) {
        rows.push_back({panels[p].points[2 * i], panels[p].points[2 * i + 1], labels[i]});
      }
      figure.data(fmt::format("panel{}", p), rows);
    }
  }
  figure.line("set multiplot").line("unset key");
  const auto put = [&](int tag, const std::string& text, double x, double y, const char* font, const char* ink) {
    figure.line(fmt::format("set label {} {} at screen {},{} left font '{}' textcolor '{}'", tag, plain_text(text),
                            x_of(x), y_of(y), font, ink));
  };
  put(1, fitted(title, 1.15 * 28, width - 80), 40, 50, "DejaVu Sans Bold,28", colour::kText);
  put(2, fitted(subtitle, kFont, width - 80), 40, 100, ",20", colour::kMuted);
  // Dense pictures have smaller points.
  const double size = labels.size() <= 100 ? 2.0 : labels.size() <= 500 ? 1.2 : labels.size() <= 3000 ? 0.8 : 0.5;
  if (named) {
    const double line = std::min(46.0, static_cast<double>(kPanel) / static_cast<double>(present.size()));
    for (size_t c = 0; c < present.size(); ++c) {
      const double y = kTop + line * (static_cast<double>(c) + 0.5);
      const Look look = look_of(c);
      figure.line(fmt::format("set label {} '' at screen {},{} point pointtype {} pointsize 1.6 linecolor '{}'",
                              100 + c, x_of(legend + 14), y_of(y), look.point, look.colour));
      put(static_cast<int>(200 + c), fitted(names[static_cast<size_t>(present[c])], kFont - 1, kLegendText),
          legend + 40, y, ",19", colour::kText);
    }
  } else {
    // Viridis (van der Walt & Smith 2015): even steps for every eye, and in print.
    figure.line("set palette defined (0 '#440154', 1 '#3B528B', 2 '#21918C', 3 '#5EC962', 4 '#D8C420')");
    figure.line(fmt::format("set cbrange [0:{}]", names.size() - 1)).line("set cbtics scale 0.4");
    figure.line(fmt::format("set cblabel 'Class (number)' textcolor '{}'", colour::kText));
    figure.line(fmt::format("set colorbox user origin {},{} size {},{} noborder", x_of(legend), y_of(kTop + kPanel),
                            x_of(28), static_cast<double>(kPanel) / height));
  }
  for (size_t p = 0; p < panels.size(); ++p) {
    const double left = kLeft + static_cast<double>(p) * (kPanel + kBetween);
    figure.line(fmt::format("set lmargin at screen {}", x_of(left)))
        .line(fmt::format("set rmargin at screen {}", x_of(left + kPanel)))
        .line(fmt::format("set tmargin at screen {}", y_of(kTop)))
        .line(fmt::format("set bmargin at screen {}", y_of(kTop + kPanel)));
    const auto [x0, x1] = range_of(panels[p].points, 0);
    const auto [y0, y1] = range_of(panels[p].points, 1);
    figure.line(fmt::format("set xrange [{}:{}]", x0, x1)).line(fmt::format("set yrange [{}:{}]", y0, y1));
    figure.line(fmt::format("set title {} offset 0,-0.4 font 'DejaVu Sans Bold,{}' textcolor '{}'",
                            plain_text(panels[p].title), kFont + 2, colour::kText));
    figure.line(fmt::format("set xlabel {} textcolor '{}'", plain_text(panels[p].x_name), colour::kText));
    figure.line(fmt::format("set ylabel {} textcolor '{}'", plain_text(panels[p].y_name), colour::kText));
    std::string plot;
    if (named) {
      for (size_t c = 0; c < present.size(); ++c) {
        const Look look = look_of(c);
        plot += fmt::format(
            "$panel{}class{} using 1:2 with points pointtype {} pointsize {} linewidth 0.6 linecolor "
            "'{}' notitle, ",
            p, c, look.point, size, look.colour);
      }
    } else {
      plot =
          fmt::format("$panel{} using 1:2:3 with points pointtype 7 pointsize {} linecolor palette notitle, ", p, size);
    }
    figure.line("plot " + plot + "NaN notitle");
    if (p == 0) figure.line("unset label").line("unset colorbox");
  }
  figure.line("unset multiplot");
  figure.save(file);
}

}  // namespace striate
