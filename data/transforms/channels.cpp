#include "data/transforms/channels.h"

#include <algorithm>
#include <utility>

#include "data/transforms/framing.h"
#include "kernels/image_batch/levels.h"

namespace striate {

void convert_channels(const Image& from, int channels, Image& to) {
  to.reshape(from.height, from.width, channels);
  const size_t count = static_cast<size_t>(from.height) * from.width;
  const uint8_t* in = from.pixels.data();
  uint8_t* out = to.pixels.data();
  if (from.channels == channels) {
    std::copy_n(in, count * channels, out);
  } else if (channels == 3) {
    for (size_t p = 0; p < count; ++p) out[3 * p] = out[3 * p + 1] = out[3 * p + 2] = in[p];
  } else {
    for (size_t p = 0; p < count; ++p)
      out[p] = static_cast<uint8_t>(levels::luminance(in[3 * p], in[3 * p + 1], in[3 * p + 2]));
  }
}

void ConvertChannels::apply(Image& image, Random&, TransformScratch& scratch) const {
  if (image.channels == channels_) return;
  convert_channels(image, channels_, scratch.image);
  std::swap(image, scratch.image);
}

bool ConvertChannels::frame(Framing& framing, Random&) const { return framing.convert(channels_); }

}  // namespace striate
