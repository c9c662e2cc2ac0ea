#include "data/datasets/picture_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <system_error>

#include "kernels/error.h"

namespace striate {

namespace fs = std::filesystem;

namespace {

bool is_hidden(const fs::path& file) { return file.filename().string().starts_with('.'); }

/// Whether a link to a folder, `depth` levels below `folder`, leads to one that it lies in: pictures would be found
/// over and over, and in the wrong class.
bool leads_back(const fs::path& link, int depth, const fs::path& folder) {
  std::error_code ignored;
  fs::path above = link.parent_path();
  for (; depth > 0; --depth, above = above.parent_path()) {
    if (fs::equivalent(above, link, ignored)) return true;
  }
  const fs::path target = fs::canonical(link, ignored), top = fs::canonical(folder, ignored);
  return std::mismatch(target.begin(), target.end(), top.begin(), top.end()).first == target.end();
}

}  // namespace

bool is_picture_name(const fs::path& file) {
  if (is_hidden(file)) return false;
  static constexpr std::array<const char*, 7> kEndings = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".pnm"};
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

std::vector<std::string> picture_files(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code code, ignored;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink, code), end;
       !code && it != end; it.increment(code)) {
    const fs::path& path = it->path();
    if (is_hidden(path) ||
        (it->is_symlink(ignored) && it->is_directory(ignored) && leads_back(path, it.depth(), folder))) {
      it.disable_recursion_pending();
    } else if (is_picture_name(path) && it->is_regular_file(ignored)) {
      paths.push_back(path.string());
    }
  }
  require<IoError>(!code, "{}: cannot read the folder: {}", folder.string(), code.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace striate
