#include "data/datasets/hdf5/hdf5.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "data/datasets/file_bytes.h"
#include "data/datasets/hdf5/hdf5_file.h"
#include "data/datasets/hdf5/hdf5_images.h"
#include "data/datasets/hdf5/planes.h"
#include "data/datasets/hdf5/run_cache.h"
#include "kernels/error.h"

namespace striate {
namespace {

using hdf5::Array;
using hdf5::File;
using hdf5::Images;

constexpr int64_t kMostClasses = 1 << 20;

/// How the bytes of an image are meant.
struct View {
  int height = 0, width = 0, channels = 0;
  bool has_planes = false;  ///< the channels come first, and there are 3
};

View find_view(const Array& array) {
  const auto& extents = array.extents();
  require<IoError>(extents.size() == 3 || extents.size() == 4,
                   "{}: expected images N×3×H×W, N×H×W×3, N×1×H×W, N×H×W×1 or N×H×W, found {}", array.where(),
                   array.shape());
  for (size_t i = 1; i < extents.size(); ++i) {
    require<IoError>(extents[i] <= 32768, "{}: {}: expected sides of at most 32768 pixels", array.where(),
                     array.shape());
  }
  const auto side = [&](size_t i) { return static_cast<int>(extents[i]); };
  if (extents.size() == 3) return {side(1), side(2), 1, false};
  const auto is_channels = [&](size_t i) { return extents[i] == 3 || extents[i] == 1; };
  const bool first = is_channels(1), last = is_channels(3);
  require<IoError>(first || last,
                   "{}: expected images N×3×H×W, N×H×W×3, N×1×H×W, N×H×W×1 or N×H×W, found {}: neither the second nor "
                   "the last extent is 3 or 1",
                   array.where(), array.shape());
  require<IoError>(!first || !last || extents[1] * extents[2] * extents[3] == 1,
                   "{}: {} can be read as N×C×H×W and as N×H×W×C; images with a side of 1 or 3 pixels cannot be told "
                   "apart: pad them",
                   array.where(), array.shape());
  if (last) return {side(1), side(2), side(3), false};
  return {side(2), side(3), side(1), extents[1] == 3};
}

class Hdf5Dataset final : public Dataset {
 public:
  explicit Hdf5Dataset(std::unique_ptr<const Array> images)
      : view_(find_view(*images)), images_(std::move(images)), runs_(kHdf5RunMemory) {
    if (images_.unpacked_bytes() <= kHdf5LargestRun) return;
    throw IoError(
        fmt::format("{}: its packed chunks span {} images, {} MiB, which would be unpacked for each of them; at most "
                    "{} MiB are; repack the file with one image a chunk: h5repack -l {}:CHUNK=1{} IN OUT",
                    array().where(), array().chunk()[0], images_.unpacked_bytes() >> 20, kHdf5LargestRun >> 20,
                    array().where().substr(array().file().path().size() + 2), inner_extents()));
  }

  void set_labels(std::vector<int32_t> labels) { labels_ = std::move(labels); }
  void set_class_names(std::vector<std::string> names) { class_names_ = std::move(names); }
  const std::vector<int32_t>& labels() const { return labels_; }
  const Array& array() const { return images_.array(); }

  int64_t size() const override { return images_.count(); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int channels() const override { return view_.channels; }
  int label(int64_t index) const override {
    return labels_.empty() ? kUnlabelled : labels_[static_cast<size_t>(index)];
  }
  std::string describe(int64_t index) const override { return fmt::format("{}, image {}", array().where(), index); }

  PictureRuns runs() const override {
    if (images_.run_length() == 1) return {};
    const uint64_t bytes = static_cast<uint64_t>(images_.run_length()) * images_.image_bytes();
    return {images_.run_length(), std::max<int64_t>(1, static_cast<int64_t>(kHdf5RunMemory / 2 / bytes))};
  }

  using Dataset::load;
  void load(int64_t index, Image& image) const override { load_part(index, 0, whole_picture, image); }
  Part load_part(int64_t index, int64_t, const ChoosePart& choose, Image& image) const override {
    const Part part = choose(view_.height, view_.width);
    try {
      return load_window(index, part.window, image);
    } catch (const IoError& error) {
      throw IoError(fmt::format("{} (image {})", error.what(), index));
    }
  }

 private:
  std::string inner_extents() const {
    std::string text;
    for (size_t i = 1; i < array().extents().size(); ++i) text += fmt::format("x{}", array().extents()[i]);
    return text;
  }

  std::shared_ptr<const RunCache::Bytes> unpacked_run(int64_t run) const {
    const int64_t first = run * images_.run_length();
    const int64_t count = std::min(images_.run_length(), images_.count() - first);
    return runs_.get(run, static_cast<uint64_t>(count) * images_.image_bytes(),
                     [&](RunCache::Bytes& out) { read(first, count, out.data()); });
  }

  /// The window, or what must be read for it.
  Part load_window(int64_t index, const Window& window, Image& image) const {
    const size_t row_bytes = static_cast<size_t>(view_.width) * view_.channels;
    if (const int64_t length = images_.run_length(); length > 1) {
      const auto run = unpacked_run(index / length);
      const uint8_t* picture = run->data() + static_cast<uint64_t>(index % length) * images_.image_bytes();
      copy_window(picture, row_bytes, window, view_.channels, image);
      return {window};
    }
    const auto place = window.height < view_.height ? images_.place(index) : std::nullopt;
    if (!place) {
      image.reshape(view_.height, view_.width, view_.channels);
      read(index, 1, image.pixels.data());
      return {{0, 0, view_.height, view_.width}};
    }
    image.reshape(window.height, view_.width, view_.channels);
    const auto read_rows = [&](uint64_t begin, size_t bytes_a_row, uint8_t* out) {
      array().file().read(begin + window.top * bytes_a_row, window.height * bytes_a_row, out, array().where());
    };
    if (view_.has_planes) {
      const size_t width = static_cast<size_t>(view_.width), count = width * window.height;
      uint8_t* rows = planes(3 * count);
      for (size_t c = 0; c < 3; ++c) read_rows(*place + c * width * view_.height, width, rows + c * count);
      interleave_planes(rows, static_cast<int64_t>(count), image.pixels.data());
    } else {
      read_rows(*place, row_bytes, image.pixels.data());
    }
    return {{window.top, 0, window.height, view_.width}};
  }

  /// A thread's buffer for channels that are not side by side yet.
  static uint8_t* planes(size_t bytes) {
    thread_local std::vector<uint8_t> buffer;
    if (buffer.size() < bytes) buffer.resize(bytes);
    return buffer.data();
  }

  /// Pixels with their channels side by side.
  void read(int64_t first, int64_t count, uint8_t* out) const {
    if (!view_.has_planes) return images_.read(first, count, out);
    const uint64_t bytes = images_.image_bytes();
    uint8_t* buffer = planes(bytes);
    if (count == 1) {
      images_.read(first, 1, buffer);
      return interleave_planes(buffer, static_cast<int64_t>(bytes) / 3, out);
    }
    images_.read(first, count, out);
    for (int64_t i = 0; i < count; ++i, out += bytes) {
      std::memcpy(buffer, out, bytes);
      interleave_planes(buffer, static_cast<int64_t>(bytes) / 3, out);
    }
  }

  View view_;
  Images images_;
  std::vector<int32_t> labels_;
  std::vector<std::string> class_names_;
  mutable RunCache runs_;
};

/// The labels, in [0, `classes`), of so many images.
std::vector<int32_t> read_labels(const Array& array, int64_t images, int64_t classes, const std::string& names) {
  const auto& extents = array.extents();
  const bool is_list = extents.size() == 1 || (extents.size() == 2 && extents[1] == 1);
  require<IoError>(is_list, "{}: expected labels N or N×1, found {}", array.where(), array.shape());
  require<IoError>(array.element() != hdf5::Element::other, "{}: expected labels that are integers, found {}",
                   array.where(), array.type());
  require<IoError>(extents[0] == static_cast<uint64_t>(images), "{}: expected {} labels, one an image, found {}",
                   array.where(), images, extents[0]);
  // No filter that the library has packs labels closer than deflate, but for a constant.
  require<IoError>(array.stored_bytes() >= extents[0] / 1032 || array.layout() == hdf5::Layout::other,
                   "{}: declares {} labels, but only {} bytes of them were written", array.where(), extents[0],
                   array.stored_bytes());
  std::vector<int32_t> labels(static_cast<size_t>(images));
  constexpr int64_t kBlock = 1 << 16;
  std::vector<int64_t> block(static_cast<size_t>(std::min(images, kBlock)));
  for (int64_t first = 0; first < images; first += kBlock) {
    const int64_t count = std::min(kBlock, images - first);
    array.read_integers(static_cast<uint64_t>(first), static_cast<uint64_t>(count), block.data());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t label = block[static_cast<size_t>(i)];
      require<IoError>(label >= 0 && label < classes, "{}: image {}: expected a label from 0 to {}{}, found {}",
                       array.where(), first + i, classes - 1, names.empty() ? "" : ", as " + names + " has it", label);
      labels[static_cast<size_t>(first + i)] = static_cast<int32_t>(label);
    }
  }
  return labels;
}

std::unique_ptr<const Array> open_images(const std::shared_ptr<const File>& file, const std::string& name) {
  auto array = std::make_unique<const Array>(file, name);
  require<IoError>(array->element() == hdf5::Element::byte,
                   "{}: expected unsigned 8-bit pixels, found {}; write them as such in h5py: f.create_dataset('{}', "
                   "data=pixels.astype('uint8')), scaled to 0…255 before",
                   array->where(), array->type(), name);
  return array;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "nothing" : text;
}

/// A part without its class names; null where the file has no images of it.
std::shared_ptr<Hdf5Dataset> open_part(const std::shared_ptr<const File>& file, const std::string& part,
                                       bool needs_labels, int64_t classes, const std::string& names_file) {
  const std::string images = "images-" + part, labels = "labels-" + part;
  if (!file->has(images)) return nullptr;
  auto dataset = std::make_shared<Hdf5Dataset>(open_images(file, images));
  if (file->has(labels)) {
    dataset->set_labels(read_labels(Array(file, labels), dataset->size(), classes, names_file));
  } else {
    require<IoError>(!needs_labels, "{}: has {} but no {}; found {}", file->path(), images, labels,
                     joined(file->names(10)));
  }
  return dataset;
}

std::vector<std::string> numbers_up_to(int32_t last) {
  std::vector<std::string> names;
  for (int32_t i = 0; i <= last; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace

DatasetParts open_hdf5(const std::filesystem::path& path, const std::filesystem::path& names_file) {
  require<ConfigError>(!path.empty(), "data.path is not set; hdf5 needs a file with images-train, labels-train, …");
  std::vector<std::string> names;
  if (!names_file.empty()) names = read_class_names(names_file, 0);
  const int64_t classes = names.empty() ? kMostClasses : static_cast<int64_t>(names.size());
  const auto file = std::make_shared<const File>(path.string());
  const auto train = open_part(file, "train", true, classes, names_file.string());
  require<IoError>(train != nullptr,
                   "{}: expected images-train and labels-train, images-val and labels-val, images-test; found {}",
                   file->path(), joined(file->names(10)));
  const auto val = open_part(file, "val", true, classes, names_file.string());
  const auto test = open_part(file, "test", false, classes, names_file.string());
  if (names.empty()) {
    int32_t last = 0;
    for (const auto& part : {train, val, test}) {
      if (part != nullptr)
        for (const int32_t label : part->labels()) last = std::max(last, label);
    }
    names = numbers_up_to(last);
  }
  for (const auto& part : {train, val, test}) {
    if (part == nullptr) continue;
    require<IoError>(part->channels() == train->channels(), "{}: expected {} channels as in images-train, found {}: {}",
                     part->array().where(), train->channels(), part->channels(), part->array().shape());
    part->set_class_names(names);
  }
  DatasetParts parts{train, val};
  if (test == nullptr) return parts;
  if (test->labels().empty()) {
    parts.unlabelled = test;
  } else {
    parts.validation = val;
    parts.test = test;
  }
  return parts;
}

}  // namespace striate
