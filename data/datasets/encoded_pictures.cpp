#include "data/datasets/encoded_pictures.h"

#include <utility>

#include "data/image_file.h"
#include "data/transforms/channels.h"

namespace striate {

void EncodedPictures::load(int64_t index, Image& image) const { load_part(index, 0, whole_picture, image); }

Part EncodedPictures::load_part(int64_t index, int64_t, const ChoosePart& choose, Image& image) const {
  // One buffer a thread: a loader's worker reads thousands of pictures.
  thread_local std::vector<uint8_t> buffer;
  const Part part = decode_image_part(read(index, buffer), describe(index), choose, image);
  if (image.channels == 1) {
    thread_local Image grey;
    std::swap(grey, image);
    convert_channels(grey, 3, image);
  }
  return part;
}

}  // namespace striate
