#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/gemm/blocking.h"
#include "kernels/shapes.h"

namespace striate::cpu::winograd {

/// One axis of a mosaic of images that lie side by side, `pad` zeros before each: neighbours share them, so that a tile
/// may span two images. A map of 13 pixels takes 4 tiles of 4 outputs; two of them take 7.
struct Axis {
  int64_t size = 0, outputs = 0;  ///< pixels of an image and of its result
  int64_t pad = 0;
  int64_t images = 1;

  int64_t pitch() const { return size + pad; }  ///< ≥ outputs, as pad is less than the kernel
  int64_t tiles() const { return gemm::ceil_div((images - 1) * pitch() + outputs, kTile); }
};

/// Where one pixel of a tile lies along an axis: in image `image` at `at`, or nowhere (at < 0).
struct Place {
  int64_t image = 0, at = -1;
};

/// The `count` pixels (outputs) of an axis from coordinate `first` on; `extent` of each pitch are some image's.
inline void find_places(const Axis& axis, int64_t first, int64_t extent, int64_t count, Place* to) {
  const int64_t pitch = axis.pitch();
  int64_t image = first < 0 ? -1 : first / pitch, at = first - image * pitch;
  for (int64_t i = 0; i < count; ++i) {
    to[i] = {image, image >= 0 && image < axis.images && at < extent ? at : -1};
    if (++at == pitch) at = 0, ++image;
  }
}

/// A convolution with unit strides as tiles of 4×4 outputs of mosaics of images.
struct Tiling {
  Axis h, w;
  int64_t N = 0, mosaics = 0, per_mosaic = 0;

  /// Of the forward direction.
  explicit Tiling(const Conv2dShape& s) : Tiling(s.N, Axis{s.H, s.P(), s.pad_h}, Axis{s.W, s.Q(), s.pad_w}) {}

  Tiling(int64_t batch, Axis vertical, Axis horizontal) : h(vertical), w(horizontal), N(batch) {
    int64_t best = 0;
    for (int64_t rows = 1; rows <= std::min(kTile, N); ++rows) {
      for (int64_t columns = 1; columns <= std::min(kTile, N); ++columns) {
        vertical.images = rows, horizontal.images = columns;
        const int64_t tiles = vertical.tiles() * horizontal.tiles() * gemm::ceil_div(N, rows * columns);
        if (best != 0 && tiles >= best) continue;
        best = tiles;
        h = vertical, w = horizontal;
      }
    }
    mosaics = gemm::ceil_div(N, h.images * w.images);
    per_mosaic = h.tiles() * w.tiles();
  }

  int64_t count() const { return mosaics * per_mosaic; }
  int64_t images() const { return h.images * w.images; }  ///< of a mosaic
  /// The same mosaics of so many images: those of the whole batch, if they begin with one of its mosaics.
  Tiling of(int64_t images_there) const {
    Tiling part = *this;
    part.N = images_there;
    part.mosaics = gemm::ceil_div(images_there, images());
    return part;
  }

  /// The pixels [n,n] that tile t reads of `image` [N, h.size, w.size, stride], `zeros` where there is none.
  template <typename T>
  void inputs(int64_t t, int64_t n, const T* image, int64_t stride, const T* zeros, const T** to) const {
    for_each_pixel(t, n, -h.pad, -w.pad, h.size, w.size,
                   [&](int64_t pixel) { *to++ = pixel < 0 ? zeros : image + pixel * stride; });
  }
  /// Channel `first` of the pixels [4,4] of `image` [N, h.outputs, w.outputs, stride] that tile t writes, null where
  /// there is none.
  template <typename T>
  void outputs(int64_t t, T* image, int64_t stride, int64_t first, T** to) const {
    for_each_pixel(t, kTile, 0, 0, h.outputs, w.outputs,
                   [&](int64_t pixel) { *to++ = pixel < 0 ? nullptr : image + pixel * stride + first; });
  }
  /// The same to be read, `zeros` where there is none.
  template <typename T>
  void results(int64_t t, const T* image, int64_t stride, const T* zeros, const T** to) const {
    for_each_pixel(t, kTile, 0, 0, h.outputs, w.outputs,
                   [&](int64_t pixel) { *to++ = pixel < 0 ? zeros : image + pixel * stride; });
  }

 private:
  template <typename Fn>
  void for_each_pixel(int64_t t, int64_t count, int64_t down, int64_t right, int64_t height, int64_t width,
                      const Fn& fn) const {
    const int64_t first_image = t / per_mosaic * h.images * w.images, tile = t % per_mosaic;
    Place rows[kLargestTile], columns[kLargestTile];
    find_places(h, tile / w.tiles() * kTile + down, height, count, rows);
    find_places(w, tile % w.tiles() * kTile + right, width, count, columns);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < count; ++j) {
        const int64_t image = first_image + rows[i].image * w.images + columns[j].image;
        const bool found = rows[i].at >= 0 && columns[j].at >= 0 && image < N;
        fn(found ? (image * height + rows[i].at) * width + columns[j].at : -1);
      }
    }
  }
};

}  // namespace striate::cpu::winograd
