#include "data/datasets/encoded_pictures.h"

#include <utility>

#include "data/image_file.h"
#include "data/transforms/channels.h"

namespace striate {

void EncodedPictures::load(int64_t index, Image& image) const {
  // One buffer a thread: a loader's worker reads thousands of pictures.
  thread_local std::vector<uint8_t> buffer;
  decode_image(read(index, buffer), describe(index), image);
  if (image.channels == 1) {
    thread_local Image grey;
    std::swap(grey, image);
    convert_channels(grey, 3, image);
  }
}

}  // namespace striate
