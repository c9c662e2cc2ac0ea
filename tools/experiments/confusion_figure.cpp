#include "tools/experiments/confusion_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tools/experiments/csv_cell.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/number_text.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

constexpr size_t kMaxPrinted = 20, kMaxNamed = 200;

void check(const ConfusionMatrix& counts, const std::vector<std::string>& names) {
  require<ShapeError>(counts.size() == names.size(), "confusion matrix: {} classes but {} names", counts.size(),
                      names.size());
  for (const auto& row : counts) {
    require<ShapeError>(row.size() == names.size(), "confusion matrix: a row of {} columns for {} classes", row.size(),
                        names.size());
  }
}

/// At most `limit` characters (code points), the rest an ellipsis.
std::string shortened(const std::string& name, size_t limit) {
  size_t characters = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    if ((static_cast<unsigned char>(name[i]) & 0xC0) == 0x80) continue;
    if (++characters == limit && i + 1 < name.size()) {
      size_t rest = 0;
      for (size_t j = i; j < name.size(); ++j) rest += (static_cast<unsigned char>(name[j]) & 0xC0) != 0x80;
      if (rest > 1) return name.substr(0, i) + "…";
    }
  }
  return name;
}

std::string tics(const std::vector<std::string>& names, size_t limit) {
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    std::string name;
    for (const char c : shortened(names[i], limit)) name += c == '%' ? "%%" : std::string(1, c);  // tics are formats
    list += fmt::format("{}{} {}", i == 0 ? "" : ", ", plain_text(name), i);
  }
  return fmt::format("({})", list);
}

}  // namespace

void draw_confusion(const ConfusionMatrix& counts, const std::vector<std::string>& names, const std::string& title,
                    const std::filesystem::path& png) {
  check(counts, names);
  const size_t n = names.size();
  if (n == 0) return;
  std::vector<std::vector<std::optional<double>>> shares(n);
  int64_t images = 0;
  double right = 0.0;
  for (size_t t = 0; t < n; ++t) {
    const int64_t sum = std::accumulate(counts[t].begin(), counts[t].end(), int64_t{0});
    const double total = static_cast<double>(sum);
    images += sum;
    right += static_cast<double>(counts[t][t]);
    for (const int64_t count : counts[t]) {
      // A class without images has no shares: its row stays white.
      shares[t].push_back(total > 0.0 ? 100.0 * static_cast<double>(count) / total : 0.0);
    }
  }

  // The cells keep a size that can be read; the names' longest sets the margins.
  const bool named = n <= kMaxNamed, printed = n <= kMaxPrinted;
  constexpr size_t kLongest = 48;
  const int font = n <= kMaxPrinted ? 22 : n <= 60 ? 18 : named ? 15 : 22;
  double widest = 0.0;
  for (const std::string& name : names) widest = std::max(widest, text_width(shortened(name, kLongest), font));
  const std::string subtitle =
      fmt::format("{} images, {:.2f} % right; each row is a true class and sums to 100 %", grouped(images),
                  images > 0 ? 100.0 * right / static_cast<double>(images) : 0.0);
  constexpr double kBold = 1.15;  // DejaVu Sans Bold is up to so much wider
  const int text = static_cast<int>(std::max(kBold * text_width(title, 28), text_width(subtitle, 22)));
  const int cell = printed ? std::clamp(1100 / static_cast<int>(n), 64, 300)
                           : std::clamp(1500 / static_cast<int>(n), named ? 20 : 2, 60);
  const int plot = cell * static_cast<int>(n);
  const int label = named ? 40 + static_cast<int>(widest) : 90;
  const int left = label + 60, right_margin = 190, top = 150, bottom = label + 60;
  const int width = std::max(left + plot + right_margin, 80 + text), height = top + plot + bottom;
  const auto x = [&](double pixels) { return pixels / width; };
  const auto y = [&](double pixels) { return 1.0 - pixels / height; };

  Figure figure(width, height, font);
  figure.data("shares", shares);
  figure.line("unset key").line("unset grid");
  figure.line(fmt::format("set lmargin at screen {}", x(left)))
      .line(fmt::format("set rmargin at screen {}", x(left + plot)));
  figure.line(fmt::format("set tmargin at screen {}", y(top)))
      .line(fmt::format("set bmargin at screen {}", y(top + plot)));
  figure.line(fmt::format("set xrange [-0.5:{0}] noextend", static_cast<double>(n) - 0.5));
  figure.line(fmt::format("set yrange [{0}:-0.5] noextend", static_cast<double>(n) - 0.5));
  if (named) {
    figure.line("set xtics rotate by 90 right scale 0 " + tics(names, kLongest))
        .line("set ytics scale 0 " + tics(names, kLongest));
  } else {
    figure.line("set xtics out autofreq").line("set ytics out autofreq");
  }
  figure.line(fmt::format("set label 1 {} at screen {},{} font 'DejaVu Sans Bold,28' textcolor '{}'", plain_text(title),
                          x(40), y(50), colour::kText));
  figure.line(fmt::format("set label 2 {} at screen {},{} font ',22' textcolor '{}'", plain_text(subtitle), x(40),
                          y(100), colour::kMuted));
  figure.line(fmt::format("set label 3 'Predicted class' at screen {},{} center font ',24' textcolor '{}'",
                          x(left + plot / 2.0), y(height - 30.0), colour::kText));
  figure.line(fmt::format("set label 4 'True class' at screen {},{} center rotate by 90 font ',24' textcolor '{}'",
                          x(32), y(top + plot / 2.0), colour::kText));
  // One hue from white to dark: lightness alone carries the value, and print keeps it.
  figure.line(
      "set palette defined (0 '#FFFFFF', 4 '#DCEAF5', 20 '#9CC7E3', 50 '#4A98C9', 80 '#1563A5', 100 '#08306B')");
  figure.line("set cbrange [0:100]").line("set format cb '%g %%'").line("set cbtics 25 scale 0.4");
  figure.line(fmt::format("set colorbox user origin {},{} size {},{} noborder", x(left + plot + 40), y(top + plot),
                          x(26), static_cast<double>(plot) / height));
  figure.line(fmt::format("set border 15 linecolor '{}' linewidth 0.5", colour::kMuted));
  std::string command = "plot $shares matrix with image pixels";
  if (printed) {
    const char* format =
        "($3 >= 99.95 ? '100' : $3 >= 10 ? sprintf('%.0f', $3) : $3 >= 0.05 ? sprintf('%.1f', $3) : '')";
    command += fmt::format(", $shares matrix using 1:2:($3 < 45 ? {0} : '') with labels font ',{1}' textcolor '{2}'",
                           format, std::min(font, cell / 3), colour::kText);
    command +=
        fmt::format(", $shares matrix using 1:2:($3 >= 45 ? {0} : '') with labels font ',{1}' textcolor '#FFFFFF'",
                    format, std::min(font, cell / 3));
  }
  figure.line(command);
  figure.save(png);
}

void write_confusion_csv(const ConfusionMatrix& counts, const std::vector<std::string>& names,
                         const std::filesystem::path& csv) {
  check(counts, names);
  std::string text = "true\\predicted";
  for (const std::string& name : names) text += fmt::format(",{}", csv_cell(name));
  for (size_t t = 0; t < names.size(); ++t) {
    text += fmt::format("\n{}", csv_cell(names[t]));
    for (const int64_t count : counts[t]) text += fmt::format(",{}", count);
  }
  write_file_atomically(csv.string(), text + "\n");
}

}  // namespace striate
