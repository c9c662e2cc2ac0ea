#include "data/pack.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "data/broken_image.h"
#include "data/datasets/packed/packed_writer.h"
#include "data/load_transformed.h"
#include "data/test_view.h"
#include "data/transforms/channels.h"
#include "data/transforms/resize.h"
#include "data/transforms/settle.h"
#include "engine/crc32c.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// From so many images on the size of the file is foreseen.
constexpr int64_t kImagesThatTell = 100;

/// A resize of those images that it makes smaller. The others stay: whoever resizes them later sees the same pixels.
class Shrink final : public GeometricTransform {
 public:
  explicit Shrink(std::shared_ptr<const Resize> resize) : resize_(std::move(resize)) {}
  bool frame(Framing& framing, Random& random) const override {
    Framing resized = framing;
    if (!resize_->frame(resized, random)) return false;
    if (pixels(resized) < pixels(framing)) framing = resized;
    return true;
  }

 private:
  static int64_t pixels(const Framing& framing) { return int64_t{framing.height()} * framing.width(); }

  std::shared_ptr<const Resize> resize_;
};

/// How the images of train, and those of the other parts, are made smaller; null: not at all.
struct Resizes {
  std::shared_ptr<const Resize> train, test;
};

std::shared_ptr<const Resize> parse_resize(const std::string& text) {
  std::vector<int> sides;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    int side = 0;
    const auto [next, error] = std::from_chars(at, end, side);
    const bool is_side = error == std::errc() && side >= 1 && side <= 32768;
    require<ConfigError>(is_side && sides.size() < 2 && (next == end || *next == ','),
                         "--resize {}: expected none, the pixels of the shorter side as in 256, or H,W", text);
    sides.push_back(side);
    if (next == end) break;
    at = next + 1;
  }
  if (sides.size() == 1) return std::make_shared<Resize>(sides[0]);
  return std::make_shared<Resize>(sides[0], sides[1]);
}

/// The resize that a pipeline begins with once the channels are right; null where it begins otherwise.
std::shared_ptr<const Resize> leading_resize(const Pipeline& pipeline) {
  for (const auto& transform : pipeline.transforms()) {
    if (auto resize = std::dynamic_pointer_cast<const Resize>(transform)) return resize;
    if (std::dynamic_pointer_cast<const ConvertChannels>(transform) == nullptr) break;
  }
  return nullptr;
}

std::string text_of(const std::shared_ptr<const Resize>& resize) { return resize ? resize->text() : "none"; }

Resizes choose_resizes(const DatasetParts& parts, DataConfig config, const OpenOptions& options,
                       const std::string& wanted) {
  if (wanted == "none") return {};
  if (!wanted.empty()) {
    const auto resize = parse_resize(wanted);
    return {resize, resize};
  }
  const bool has_size = config.height > 0 || options.model_height > 0;
  if (!has_size && config.train_transforms.empty() && config.test_transforms.empty()) return {};
  config.normalize_by = NormalizeBy::none;
  for (Pipeline* transforms : {&config.train_transforms, &config.test_transforms}) {
    *transforms = settled(*transforms, {}, ColorComponents{});  // measures nothing
  }
  const Data data = open_data(parts, config, options);
  const auto test_resize = leading_resize(data.test_transforms);
  const Resizes resizes{data.train ? leading_resize(data.train->set().transforms) : test_resize, test_resize};
  const std::string train = text_of(resizes.train), test = text_of(resizes.test);
  require<ConfigError>(config.validation_fraction == 0 || train == "none" || train == test,
                       "data.validation_fraction shows training images through test_transforms too, and these begin "
                       "with another resize ({}) than train_transforms ({}); --resize none keeps the images as they "
                       "are, --resize S or H,W packs them all alike",
                       test, train);
  return resizes;
}

/// A dataset's parts as one row of images.
class Source {
 public:
  explicit Source(const DatasetParts& parts)
      : parts_{parts.train.get(), parts.validation.get(), parts.test.get(), parts.unlabelled.get()} {}

  struct Place {
    size_t part;
    int64_t index;
  };
  Place place(int64_t number) const {
    size_t part = 0;
    while (number >= count(part)) number -= count(part++);
    return {part, number};
  }
  const Dataset& part(size_t part) const { return *parts_[part]; }
  int64_t count(size_t part) const { return parts_[part] == nullptr ? 0 : parts_[part]->size(); }
  int64_t size() const {
    int64_t all = 0;
    for (size_t part = 0; part < parts_.size(); ++part) all += count(part);
    return all;
  }
  /// The part that tells classes and channels.
  const Dataset& main() const { return parts_[0] != nullptr ? *parts_[0] : *parts_[2]; }

 private:
  std::array<const Dataset*, kPackedParts.size()> parts_;  // null where there is none
};

/// An image on its way into the file.
struct Job {
  Image image;
  int label = kUnlabelled;
  uint32_t checksum = 0;
  std::string broken;  // why it is left out
  std::exception_ptr error;
  bool is_ready = false;
  TransformScratch scratch;
};

/// Makes images from `begin` on with several threads, a few ahead of whoever takes them in order.
template <typename Make>
class Ahead {
 public:
  Ahead(int64_t begin, int64_t end, int threads, Make make)
      : end_(end), made_(begin), taken_(begin), make_(std::move(make)), jobs_(static_cast<size_t>(4 * threads)) {
    for (int t = 0; t < threads; ++t) threads_.emplace_back([this] { work(); });
  }
  ~Ahead() {
    {
      const std::lock_guard lock(mutex_);
      end_ = 0;
    }
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  /// The next image; valid until give_back().
  Job& take() {
    std::unique_lock lock(mutex_);
    Job& job = at(taken_);
    ready_.wait(lock, [&] { return job.is_ready; });
    return job;
  }
  void give_back() {
    {
      const std::lock_guard lock(mutex_);
      at(taken_++).is_ready = false;
    }
    room_.notify_one();
  }

 private:
  Job& at(int64_t number) { return jobs_[static_cast<size_t>(number) % jobs_.size()]; }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] { return made_ >= end_ || made_ < taken_ + static_cast<int64_t>(jobs_.size()); });
      if (made_ >= end_) return;
      const int64_t number = made_++;
      Job& job = at(number);
      lock.unlock();
      job.error = nullptr;
      job.broken.clear();
      try {
        make_(number, job);
      } catch (...) {
        job.error = std::current_exception();
      }
      lock.lock();
      job.is_ready = true;
      ready_.notify_one();
    }
  }

  std::mutex mutex_;  // guards what follows but the contents of jobs that are being made or taken
  std::condition_variable room_, ready_;
  int64_t end_, made_, taken_;
  Make make_;
  std::vector<Job> jobs_;
  std::vector<std::thread> threads_;
};

class Packing {
 public:
  Packing(const DataConfig& config, const OpenOptions& options, const PackOptions& pack)
      : config_(config),
        parts_(open_parts(config, options)),
        source_(parts_),
        resizes_(choose_resizes(parts_, config, options, pack.resize)),
        channels_(config.channels == 1 ? 1 : source_.main().channels()) {
    for (size_t part = 0; part < kPackedParts.size(); ++part) {
      // As training has it: the channels first.
      transforms_[part].add(std::make_shared<ConvertChannels>(channels_));
      if (const auto& resize = resize_of(part)) transforms_[part].add(std::make_shared<Shrink>(resize));
    }
  }

  const Source& source() const { return source_; }
  PackedWriter::Contents contents() const;
  void make(int64_t number, Job& job) const;
  /// "train 50000 images, resize 256; test 10000 images, as they are"
  std::string summary() const;

 private:
  const std::shared_ptr<const Resize>& resize_of(size_t part) const {
    return part == 0 ? resizes_.train : resizes_.test;
  }
  uint32_t list_checksum() const;
  std::string first_image(size_t part) const;

  DataConfig config_;
  DatasetParts parts_;
  Source source_;
  Resizes resizes_;
  int channels_;
  std::array<Pipeline, kPackedParts.size()> transforms_;  // a part each
};

void Packing::make(int64_t number, Job& job) const {
  const auto [part, index] = source_.place(number);
  const Dataset& dataset = source_.part(part);
  try {
    load_transformed(dataset, index, transforms_[part], 0, 0, job.image, job.scratch);
  } catch (const IoError& error) {
    if (!config_.skip_broken) throw broken_image(error);
    job.broken = error.what();
    return;
  }
  job.label = dataset.label(index);
  const bool is_labelled = part + 1 < kPackedParts.size();
  const int classes = source_.main().classes();
  require<IoError>(is_labelled ? job.label >= 0 && job.label < classes : job.label == kUnlabelled,
                   "{}: class {}, where there are {}", dataset.describe(index), job.label, classes);
  job.checksum = crc32c(job.image.pixels.data(), job.image.pixels.size());
}

/// Of every image's class and where it comes from.
uint32_t Packing::list_checksum() const {
  uint32_t checksum = 0;
  for (size_t part = 0; part < kPackedParts.size(); ++part) {
    for (int64_t i = 0; i < source_.count(part); ++i) {
      const std::string line = fmt::format("{} {}\n", source_.part(part).label(i), source_.part(part).describe(i));
      checksum = crc32c(line.data(), line.size(), checksum);
    }
  }
  return checksum;
}

/// A part's first image before it is changed: tells datasets apart whose lists are the same.
std::string Packing::first_image(size_t part) const {
  try {
    const Image image = source_.part(part).load(0);
    return fmt::format("{}×{}, checksum {:08x}", image.height, image.width,
                       crc32c(image.pixels.data(), image.pixels.size()));
  } catch (const IoError&) {
    return "broken";
  }
}

PackedWriter::Contents Packing::contents() const {
  PackedWriter::Contents contents;
  contents.channels = channels_;
  std::string& recipe = contents.metadata.recipe;
  recipe = fmt::format("dataset: {}\npath: {}\nchannels: {}\n", config_.dataset, config_.path, channels_);
  for (size_t part = 0; part < kPackedParts.size(); ++part) {
    contents.pictures[part] = source_.count(part);
    const char* const name = kPackedParts[part];
    if (source_.count(part) == 0) continue;
    recipe += fmt::format("{0} images: {1}\n{0} resize: {2}\nfirst {0} image: {3}\n", name, source_.count(part),
                          text_of(resize_of(part)), first_image(part));
  }
  recipe += fmt::format("checksum of names and classes: {:08x}\n", list_checksum());
  contents.metadata.source = config_.path.empty() ? config_.dataset : config_.dataset + " " + config_.path;
  contents.metadata.normalization = dataset_normalization(config_);
  contents.metadata.class_names = source_.main().class_names();
  return contents;
}

std::string Packing::summary() const {
  std::string text;
  for (size_t part = 0; part < kPackedParts.size(); ++part) {
    if (source_.count(part) == 0) continue;
    const auto& resize = resize_of(part);
    text += fmt::format("{}{} {} images, {}", text.empty() ? "" : "; ", kPackedParts[part], source_.count(part),
                        resize != nullptr ? "resize " + resize->text() : "in their own sizes");
  }
  return text;
}

/// What to say, after the first images, of a file that will not find room; empty where it will.
std::string lack_of_room(const PackedWriter& writer, const std::string& output) {
  const std::filesystem::path folder = std::filesystem::absolute(output).parent_path();
  std::error_code code;
  const std::filesystem::space_info space = std::filesystem::space(folder, code);
  if (code || writer.bytes_to_come() <= space.available) return "";
  return fmt::format(
      "the file will want about {:.3g} GB more, and {} has {:.3g} GB: --resize makes it smaller; what is packed stays "
      "if the disk gets full",
      static_cast<double>(writer.bytes_to_come()) / 1e9, folder.string(), static_cast<double>(space.available) / 1e9);
}

}  // namespace

PackResult pack_dataset(const DataConfig& given, const OpenOptions& options, const std::string& output,
                        const PackOptions& pack) {
  require<ConfigError>(given.dataset != "crops",
                       "data.dataset: crops draws its images anew every epoch, which a file of images cannot");
  DataConfig config = given;
  std::error_code code;
  if (!config.path.empty()) config.path = std::filesystem::absolute(config.path).lexically_normal().string();
  require<ConfigError>(config.path.empty() || !std::filesystem::equivalent(config.path, output, code),
                       "--output {}: that is the file which is read (data.path); choose another", output);
  PackedWriter::check_place(output);
  const Packing packing(config, options, pack);
  PackedWriter writer(output, packing.contents());
  const int64_t total = packing.source().size();
  if (pack.note) pack.note(packing.summary());
  if (pack.note && writer.next() > 0) pack.note(fmt::format("going on after {} images", writer.next()));

  PackResult result;
  {
    Ahead ahead(writer.next(), total, std::max(pack.threads, 1),
                [&](int64_t number, Job& job) { packing.make(number, job); });
    bool goes_on = !pack.progress || pack.progress(writer.next(), total);
    bool is_foreseen = false;
    while (goes_on && writer.next() < total) {
      const Job& job = ahead.take();
      if (job.error != nullptr) std::rethrow_exception(job.error);
      if (job.broken.empty()) {
        writer.append(job.image, job.label, job.checksum);
      } else {
        if (options.on_broken) options.on_broken(job.broken);
        writer.skip();
      }
      ahead.give_back();
      if (!is_foreseen && writer.next() >= kImagesThatTell) {
        is_foreseen = true;
        const std::string text = lack_of_room(writer, output);
        if (!text.empty() && options.on_notice) options.on_notice(text);
      }
      goes_on = !pack.progress || pack.progress(writer.next(), total);
    }
  }
  result.is_finished = writer.next() == total;
  result.images = writer.pictures();
  result.left_out = writer.left_out();
  if (result.is_finished) writer.finish();
  result.bytes = writer.bytes();
  return result;
}

}  // namespace striate
