#include "data/datasets/image_files.h"

#include <utility>

#include "data/image_file.h"
#include "kernels/error.h"

namespace striate {

ImageFiles::ImageFiles(std::vector<std::filesystem::path> files, const TestView& view)
    : files_(std::move(files)), view_(view) {}

void ImageFiles::load(int64_t index, Image& image) const {
  const std::string file = describe(index);
  read_image(file, image);
  thread_local TransformScratch scratch;
  try {
    view_.transforms.apply(image, 0, 0, index, scratch);
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("{}: {}", file, error.what()));
  }
  require<IoError>(image.height == view_.height && image.width == view_.width && image.channels == view_.channels,
                   "{}: the test transforms make it {}×{}×{}, but the network sees {}×{}×{}; "
                   "--set 'data.test_transforms=[{{resize: [{}, {}]}}]' takes pictures of any size",
                   file, image.height, image.width, image.channels, view_.height, view_.width, view_.channels,
                   view_.height, view_.width);
}

}  // namespace striate
