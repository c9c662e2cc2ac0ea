#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"
#include "tools/experiments/figure.h"

namespace striate {

/// What a cell's frame and sign say: colour is never the only difference.
enum class Mark { none, right, wrong };

/// A line below a picture. Where it is too wide for its cell `text` is shortened, `before` and `after` stay.
struct GridCaption {
  std::string before{}, text{}, after{};
  const char* colour = colour::kText;
};

struct GridCell {
  Image image;  ///< 1 or 3 channels, of any size; none (of no pixels) leaves the place empty
  std::vector<GridCaption> captions{};
  Mark mark = Mark::none;  ///< the sign, ✓ or ✗, stands before the first caption
};

struct GridOptions {
  std::string title{}, subtitle{};
  int columns = 0;  ///< 0: as many as make a good page
};

/// Where everything lies, in pixels from the top left.
struct GridLayout {
  struct Place {
    int x = 0, y = 0;           ///< of the picture's first pixel
    int width = 0, height = 0;  ///< as shown
    int enlarged = 1;           ///< by this whole factor, or
    int reduced = 1;            ///< by this one
    int caption_x = 0, caption_y = 0;
  };
  int width = 0, height = 0, columns = 0, rows = 0;
  int cell_width = 0;
  int title_points = 0, subtitle_points = 0, caption_points = 0;
  std::vector<std::string> title, subtitle;  ///< lines
  std::vector<Place> cells;
};

/// Small pictures are enlarged by whole factors, nearest neighbour, so that every pixel stays a square; those too large
/// for a page are reduced by whole factors, mean over the square. Throws ShapeError for no cells and for other
/// channels.
GridLayout layout_grid(const std::vector<GridCell>& cells, const GridOptions& options);

/// Draws the grid: PNG, or SVG where the file's name ends so. Throws as layout_grid() and Figure::save() do.
void draw_image_grid(const std::vector<GridCell>& cells, const GridOptions& options, const std::filesystem::path& file);

/// The pictures alone, all of one size and all 1 or 3 channels, as one RGB image: `columns` a row, enlarged by a whole
/// factor, `gap` white pixels between and around.
Image tile_images(const std::vector<Image>& images, int columns, int enlarged, int gap);

/// Every pixel a square of `factor`.
Image enlarged(const Image& image, int factor);
/// Every square of `factor` pixels its mean; what is left at the right and bottom is a smaller square.
Image reduced(const Image& image, int factor);

}  // namespace striate
