#include "data/datasets/imagenet/imagenet_devkit.h"

#include <archive.h>
#include <archive_entry.h>

#include <charconv>
#include <cmath>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "data/datasets/file_bytes.h"
#include "data/datasets/imagenet/mat_file.h"
#include "data/imagenet_classes.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

constexpr const char* kArchive = "ILSVRC2012_devkit_t12.tar.gz";
constexpr const char* kFolder = "ILSVRC2012_devkit_t12";
constexpr const char* kMeta = "meta.mat";
constexpr const char* kTruth = "ILSVRC2012_validation_ground_truth.txt";
/// The kit has 2.6 MB; what unpacks to more is something else, or a bomb.
constexpr uint64_t kMostBytes = uint64_t{64} << 20;

struct Close {
  void operator()(archive* opened) const { archive_read_free(opened); }
};

struct Files {
  std::vector<uint8_t> meta, truth;
  std::string meta_name, truth_name;  ///< for messages
};

/// The two members, in whatever order they come.
Files read_archive(const fs::path& file) {
  Files files{{}, {}, fmt::format("{}: {}", file.string(), kMeta), fmt::format("{}: {}", file.string(), kTruth)};
  const std::unique_ptr<archive, Close> kit(archive_read_new());
  const auto fail = [&] {
    const char* text = kit == nullptr ? "out of memory" : archive_error_string(kit.get());
    throw IoError(fmt::format("{}: not a tar.gz, or a damaged one ({}); fetch the file again", file.string(),
                              text == nullptr ? "no reason given" : text));
  };
  if (kit == nullptr || archive_read_support_filter_gzip(kit.get()) != ARCHIVE_OK ||
      archive_read_support_format_tar(kit.get()) != ARCHIVE_OK ||
      archive_read_open_filename(kit.get(), file.c_str(), size_t{1} << 16) != ARCHIVE_OK) {
    fail();
  }
  while (files.meta.empty() || files.truth.empty()) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(kit.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail();
    const char* path = archive_entry_pathname(entry);
    const std::string name = path == nullptr ? "" : fs::path(path).filename().string();
    const int64_t size = archive_entry_size(entry);
    // Skipping unpacks, too.
    require<IoError>(size >= 0 && static_cast<uint64_t>(size) <= kMostBytes &&
                         static_cast<uint64_t>(archive_filter_bytes(kit.get(), 0)) <= kMostBytes,
                     "{}: it unpacks to more than {} bytes; expected ILSVRC 2012's development kit", file.string(),
                     kMostBytes);
    if (name != kMeta && name != kTruth) continue;
    std::vector<uint8_t>& bytes = name == kMeta ? files.meta : files.truth;
    std::vector<uint8_t> chunk(size_t{1} << 16);
    for (;;) {
      const la_ssize_t got = archive_read_data(kit.get(), chunk.data(), chunk.size());
      if (got < 0) fail();
      if (got == 0) break;
      bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
    }
  }
  for (const auto& [name, bytes] : {std::pair{kMeta, &files.meta}, std::pair{kTruth, &files.truth}}) {
    require<IoError>(!bytes->empty(), "{}: it holds no {}; expected ILSVRC 2012's development kit", file.string(),
                     name);
  }
  return files;
}

Files read_folder(const fs::path& folder) {
  const fs::path meta = folder / "data" / kMeta, truth = folder / "data" / kTruth;
  return {read_file(meta, kMostBytes), read_file(truth, kMostBytes), meta.string(), truth.string()};
}

/// The WordNet ids by ILSVRC2012_ID, from 1 on; [0] is empty. Only what is a class, and not a group of classes, is
/// there.
std::vector<std::string> read_meta(const Files& files, ImagenetDevkit& kit) {
  const std::vector<std::string> fields = {"ILSVRC2012_ID", "WNID", "words", "num_children"};
  const auto synsets = read_mat_structs(files.meta, "synsets", fields, files.meta_name);
  std::vector<std::string> ids(1);
  for (size_t i = 0; i < synsets[0].numbers.size(); ++i) {
    if (synsets[3].numbers[i] != 0) continue;
    const double id = synsets[0].numbers[i];
    const std::string& wordnet = synsets[1].texts[i];
    require<IoError>(id >= 1 && id <= 100000 && id == std::floor(id) && is_wordnet_id(wordnet),
                     "{}: class {} has the number {} and the WordNet id '{}'", files.meta_name, i + 1, id, wordnet);
    const auto place = static_cast<size_t>(id);
    if (ids.size() <= place) ids.resize(place + 1);
    const std::string& words = synsets[2].texts[i];
    const bool is_new = ids[place].empty() && kit.names.emplace(wordnet, words.substr(0, words.find(','))).second;
    require<IoError>(is_new, "{}: class {} or its WordNet id {} is in it twice", files.meta_name, id, wordnet);
    ids[place] = wordnet;
  }
  require<IoError>(!kit.names.empty(), "{}: it lists no class", files.meta_name);
  return ids;
}

}  // namespace

bool has_imagenet_devkit(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kArchive, ignored) || fs::is_directory(folder / kFolder, ignored);
}

ImagenetDevkit read_imagenet_devkit(const fs::path& folder) {
  std::error_code ignored;
  const Files files =
      fs::exists(folder / kArchive, ignored) ? read_archive(folder / kArchive) : read_folder(folder / kFolder);
  ImagenetDevkit kit;
  const std::vector<std::string> ids = read_meta(files, kit);
  std::string_view rest(reinterpret_cast<const char*>(files.truth.data()), files.truth.size());
  for (size_t line = 1; !rest.empty(); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
    if (text.empty() && rest.empty()) break;
    size_t id = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    require<IoError>(error == std::errc{} && stop == text.data() + text.size() && id < ids.size() && !ids[id].empty(),
                     "{}, line {}: expected a class from 1 to {}, found '{}'", files.truth_name, line, ids.size() - 1,
                     text.substr(0, 40));
    kit.validation.push_back(ids[id]);
  }
  return kit;
}

}  // namespace striate
