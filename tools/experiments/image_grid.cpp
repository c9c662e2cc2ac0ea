#include "tools/experiments/image_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "data/image_file.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tools/experiments/png.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

constexpr int kPageWidth = 2000;  // pixels that the columns share
constexpr int kMostSide = 640;    // of a picture on the page
constexpr int kMargin = 40;
constexpr int kFrame = 6;  // of a marked picture, in the gap round it
constexpr double kBold = 1.15, kPixelsPerPoint = 96.0 / 72.0;

const char* sign(Mark mark) { return mark == Mark::wrong ? "✗ " : mark == Mark::right ? "✓ " : ""; }
const char* colour_of(Mark mark) {
  return mark == Mark::wrong ? colour::kOrange : mark == Mark::right ? colour::kBlue : colour::kGrid;
}

/// A caption as it is drawn: with the cell's sign and colour on the first line.
std::vector<GridCaption> captions_of(const GridCell& cell) {
  std::vector<GridCaption> captions = cell.captions;
  if (cell.mark == Mark::none) return captions;
  if (captions.empty()) captions.emplace_back();
  captions.front().before = sign(cell.mark) + captions.front().before;
  captions.front().colour = colour_of(cell.mark);
  return captions;
}

struct Content {
  int widest = 0, highest = 0;  // pixels of the largest picture
  size_t lines = 0;             // of the longest caption
  double caption = 0.0;         // width of the widest one, in points' pixels a point
  bool marked = false;
};

Content content_of(const std::vector<GridCell>& cells) {
  Content content;
  for (const GridCell& cell : cells) {
    const Image& image = cell.image;
    require<ShapeError>(image.pixels.empty() || image.channels == 1 || image.channels == 3,
                        "image grid: expected pictures of 1 or 3 channels, found {}", image.channels);
    content.widest = std::max(content.widest, image.width);
    content.highest = std::max(content.highest, image.height);
    content.marked = content.marked || cell.mark != Mark::none;
    const auto captions = captions_of(cell);
    content.lines = std::max(content.lines, captions.size());
    for (const GridCaption& caption : captions) {
      content.caption = std::max(content.caption, text_width(caption.before + caption.text + caption.after, 1.0));
    }
  }
  return content;
}

GridLayout::Place sized(const Image& image, int goal) {
  GridLayout::Place place;
  if (image.pixels.empty()) return place;
  const int side = std::max(image.width, image.height);
  place.enlarged = std::max(1, goal / side);
  // A picture is not made smaller than its cell for a little more order: only where it would not fit a page.
  if (side > kMostSide) place.reduced = (side + kMostSide - 1) / kMostSide;
  place.width = place.reduced > 1 ? (image.width + place.reduced - 1) / place.reduced : image.width * place.enlarged;
  place.height = place.reduced > 1 ? (image.height + place.reduced - 1) / place.reduced : image.height * place.enlarged;
  return place;
}

GridLayout with_columns(const std::vector<GridCell>& cells, const Content& content, int columns) {
  const int n = static_cast<int>(cells.size());
  GridLayout layout;
  layout.columns = columns;
  layout.rows = (n + columns - 1) / columns;
  int goal = std::clamp(kPageWidth / columns, 48, kMostSide);
  const int caption_points = std::clamp(goal / 16, 12, 20);
  // Short captions have room however many columns there are; long ones are shortened, but not to nothing.
  const double wanted = std::min(content.caption * caption_points, 9.5 * kPixelsPerPoint * caption_points);
  goal = std::max(goal, std::min(kMostSide, static_cast<int>(wanted)));
  layout.caption_points = caption_points;
  int picture_height = 0;
  for (const GridCell& cell : cells) {
    layout.cells.push_back(sized(cell.image, goal));
    layout.cell_width = std::max(layout.cell_width, layout.cells.back().width);
    picture_height = std::max(picture_height, layout.cells.back().height);
  }
  const double line = 1.45 * caption_points * kPixelsPerPoint;
  layout.cell_width = std::max(layout.cell_width, static_cast<int>(std::ceil(wanted)));
  const int gap = std::max(content.marked ? 2 * kFrame + 8 : 8, content.lines > 0 ? caption_points : goal / 24);
  const int captions = content.lines > 0 ? static_cast<int>(line * static_cast<double>(content.lines)) + 10 : 0;
  const int pitch_x = layout.cell_width + gap, pitch_y = picture_height + captions + gap;
  layout.width = 2 * kMargin + columns * pitch_x - gap;
  layout.height = kMargin + layout.rows * pitch_y - gap + kMargin;
  for (int i = 0; i < n; ++i) {
    GridLayout::Place& place = layout.cells[static_cast<size_t>(i)];
    const int x = kMargin + i % columns * pitch_x, y = i / columns * pitch_y;
    place.x = x + (layout.cell_width - place.width) / 2;
    place.y = y + (picture_height - place.height) / 2;
    place.caption_x = x + layout.cell_width / 2;
    place.caption_y = y + picture_height + 8 + static_cast<int>(line / 2.0);
  }
  return layout;
}

/// Small for a page somewhat wider than high without many empty places.
double cost(const GridLayout& layout, size_t cells) {
  const double aspect = static_cast<double>(layout.width) / layout.height;
  const double empty = static_cast<double>(layout.columns * layout.rows) - static_cast<double>(cells);
  return std::abs(std::log(aspect / 1.4)) + 8.0 * empty / static_cast<double>(cells);
}

void copy_into(Image& page, const Image& picture, int x, int y) {
  for (int row = 0; row < picture.height; ++row) {
    uint8_t* to = page.row(y + row) + 3 * static_cast<size_t>(x);
    const uint8_t* from = picture.row(row);
    for (int column = 0; column < picture.width; ++column) {
      for (int c = 0; c < 3; ++c) *to++ = picture.channels == 3 ? *from++ : *from;
      if (picture.channels == 1) ++from;
    }
  }
}

void fill(Image& page, int x0, int y0, int x1, int y1, const std::array<uint8_t, 3>& rgb) {
  for (int y = std::max(0, y0); y < std::min(page.height, y1); ++y) {
    for (int x = std::max(0, x0); x < std::min(page.width, x1); ++x) {
      std::memcpy(page.row(y) + 3 * static_cast<size_t>(x), rgb.data(), 3);
    }
  }
}

std::array<uint8_t, 3> rgb_of(const char* colour) {
  const unsigned long value = std::strtoul(colour + 1, nullptr, 16);
  return {static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

int frame_of(Mark mark) { return mark == Mark::none ? 1 : kFrame; }

std::string compose_png(const std::string& text, const std::vector<GridCell>& cells, const GridLayout& layout) {
  Image page;
  decode_image({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "image grid's text", page);
  require<Error>(page.width == layout.width && page.height == layout.height && page.channels == 3,
                 "image grid: gnuplot drew {}x{}x{} instead of {}x{}x3", page.height, page.width, page.channels,
                 layout.height, layout.width);
  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].image.pixels.empty()) continue;
    const GridLayout::Place& place = layout.cells[i];
    const int frame = frame_of(cells[i].mark);
    fill(page, place.x - frame, place.y - frame, place.x + place.width + frame, place.y + place.height + frame,
         rgb_of(colour_of(cells[i].mark)));
    const Image& image = cells[i].image;
    copy_into(page, place.reduced > 1 ? reduced(image, place.reduced) : enlarged(image, place.enlarged), place.x,
              place.y);
  }
  return encode_png(page);
}

std::string compose_svg(std::string text, const std::vector<GridCell>& cells, const GridLayout& layout) {
  std::string pictures;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].image.pixels.empty()) continue;
    const GridLayout::Place& place = layout.cells[i];
    const int frame = frame_of(cells[i].mark);
    pictures +=
        fmt::format("<rect x='{}' y='{}' width='{}' height='{}' fill='{}'/>\n", place.x - frame, place.y - frame,
                    place.width + 2 * frame, place.height + 2 * frame, colour_of(cells[i].mark));
    const Image& image = cells[i].image;
    pictures += fmt::format(
        "<image x='{}' y='{}' width='{}' height='{}' preserveAspectRatio='none' style='image-rendering:pixelated' "
        "href='data:image/png;base64,{}'/>\n",
        place.x, place.y, place.width, place.height,
        base64(encode_png(place.reduced > 1 ? reduced(image, place.reduced) : image)));
  }
  const size_t end = text.rfind("</svg>");
  require<Error>(end != std::string::npos, "image grid: gnuplot's SVG has no end");
  return text.insert(end, pictures);
}

}  // namespace

GridLayout layout_grid(const std::vector<GridCell>& cells, const GridOptions& options) {
  require<ShapeError>(!cells.empty(), "image grid: there is no picture to draw");
  const Content content = content_of(cells);
  const int n = static_cast<int>(cells.size());
  GridLayout layout;
  if (options.columns > 0) {
    layout = with_columns(cells, content, std::min(options.columns, n));
  } else {
    double best = std::numeric_limits<double>::infinity();
    // Beyond fifty columns no page can be read.
    for (int columns = 1; columns <= std::min(n, 50); ++columns) {
      GridLayout candidate = with_columns(cells, content, columns);
      const double its = cost(candidate, cells.size());
      if (its < best) best = its, layout = std::move(candidate);
    }
  }

  // A page is as wide as its title wants, within reason; beyond that the title takes more lines.
  constexpr int kNarrowest = 1000;
  const int room = std::max(layout.width, kNarrowest) - 2 * kMargin;
  layout.title_points = layout.width >= 1500 ? 28 : 24;
  layout.subtitle_points = layout.width >= 1500 ? 20 : 17;
  layout.title = wrapped(options.title, kBold * layout.title_points, room);
  layout.subtitle = wrapped(options.subtitle, layout.subtitle_points, room);
  int text_wide = 0;
  for (const std::string& line : layout.title) {
    text_wide = std::max(text_wide, static_cast<int>(text_width(line, kBold * layout.title_points)));
  }
  for (const std::string& line : layout.subtitle) {
    text_wide = std::max(text_wide, static_cast<int>(text_width(line, layout.subtitle_points)));
  }
  const int width = std::max(layout.width, text_wide + 2 * kMargin);
  const int top = kMargin + (layout.title.empty() && layout.subtitle.empty() ? 0 : 22) +
                  static_cast<int>(1.5 * kPixelsPerPoint *
                                   (static_cast<double>(layout.title.size()) * layout.title_points +
                                    static_cast<double>(layout.subtitle.size()) * layout.subtitle_points));
  for (GridLayout::Place& place : layout.cells) place.y += top, place.caption_y += top;
  layout.width = width;
  layout.height += top - kMargin;
  return layout;
}

void draw_image_grid(const std::vector<GridCell>& cells, const GridOptions& options,
                     const std::filesystem::path& file) {
  const FigureFormat format = figure_format(file);
  const GridLayout layout = layout_grid(cells, options);
  Figure figure(layout.width, layout.height, layout.caption_points);
  figure.line("unset border").line("unset tics").line("unset grid").line("unset key");
  for (const char* side : {"l", "r", "t", "b"}) figure.line(fmt::format("set {}margin 0", side));
  int tag = 1;
  const auto put = [&](const std::string& text, double x, double y, const char* place, const std::string& font,
                       const char* ink) {
    figure.line(fmt::format("set label {} {} at screen {:.7f},{:.7f} {} font '{}' textcolor '{}'", tag++,
                            plain_text(text), x / layout.width, 1.0 - y / layout.height, place, font, ink));
  };
  double y = kMargin;
  for (const std::string& line : layout.title) {
    const double high = 1.5 * kPixelsPerPoint * layout.title_points;
    put(line, kMargin, y + high / 2.0, "left", fmt::format("DejaVu Sans Bold,{}", layout.title_points), colour::kText);
    y += high;
  }
  for (const std::string& line : layout.subtitle) {
    const double high = 1.5 * kPixelsPerPoint * layout.subtitle_points;
    put(line, kMargin, y + high / 2.0, "left", fmt::format(",{}", layout.subtitle_points), colour::kMuted);
    y += high;
  }
  for (size_t i = 0; i < cells.size(); ++i) {
    const GridLayout::Place& place = layout.cells[i];
    double line = place.caption_y;
    for (const GridCaption& caption : captions_of(cells[i])) {
      const double taken = text_width(caption.before + caption.after, layout.caption_points);
      const std::string text = fitted(caption.text, layout.caption_points, layout.cell_width - taken);
      put(caption.before + text + caption.after, place.caption_x, line, "center",
          fmt::format(",{}", layout.caption_points), caption.colour);
      line += 1.45 * kPixelsPerPoint * layout.caption_points;
    }
  }
  figure.line("plot [0:1][0:1] NaN notitle");
  try {
    const std::string text = figure.render(format);
    write_file_atomically(file.string(), format == FigureFormat::svg ? compose_svg(text, cells, layout)
                                                                     : compose_png(text, cells, layout));
  } catch (const IoError&) {
    throw;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  }
}

Image tile_images(const std::vector<Image>& images, int columns, int factor, int gap) {
  require<ShapeError>(!images.empty() && columns > 0 && factor > 0 && gap >= 0,
                      "tiles: {} pictures in {} columns, enlarged {} times, {} apart", images.size(), columns, factor,
                      gap);
  const Image& first = images.front();
  const int n = static_cast<int>(images.size()), rows = (n + columns - 1) / columns;
  const int pitch_x = first.width * factor + gap, pitch_y = first.height * factor + gap;
  Image page;
  page.reshape(rows * pitch_y + gap, columns * pitch_x + gap, 3);
  std::fill(page.pixels.begin(), page.pixels.end(), uint8_t{255});
  for (int i = 0; i < n; ++i) {
    const Image& image = images[static_cast<size_t>(i)];
    require<ShapeError>(image.width == first.width && image.height == first.height,
                        "tiles: a picture of {}x{} pixels among those of {}x{}", image.height, image.width,
                        first.height, first.width);
    copy_into(page, enlarged(image, factor), gap + i % columns * pitch_x, gap + i / columns * pitch_y);
  }
  return page;
}

Image enlarged(const Image& image, int factor) {
  Image large;
  large.reshape(image.height * factor, image.width * factor, image.channels);
  const auto channels = static_cast<size_t>(image.channels);
  for (int y = 0; y < large.height; ++y) {
    const uint8_t* from = image.row(y / factor);
    uint8_t* to = large.row(y);
    for (int x = 0; x < large.width; ++x) {
      std::memcpy(to + static_cast<size_t>(x) * channels, from + static_cast<size_t>(x / factor) * channels, channels);
    }
  }
  return large;
}

Image reduced(const Image& image, int factor) {
  Image small;
  small.reshape((image.height + factor - 1) / factor, (image.width + factor - 1) / factor, image.channels);
  for (int y = 0; y < small.height; ++y) {
    const int y1 = std::min((y + 1) * factor, image.height);
    for (int x = 0; x < small.width; ++x) {
      const int x1 = std::min((x + 1) * factor, image.width);
      const int pixels = (y1 - y * factor) * (x1 - x * factor);
      for (int c = 0; c < image.channels; ++c) {
        int sum = pixels / 2;  // rounds to nearest
        for (int v = y * factor; v < y1; ++v) {
          for (int u = x * factor; u < x1; ++u) sum += image.row(v)[u * image.channels + c];
        }
        small.row(y)[x * image.channels + c] = static_cast<uint8_t>(sum / pixels);
      }
    }
  }
  return small;
}

}  // namespace striate
