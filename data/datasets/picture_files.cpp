#include "data/datasets/picture_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <system_error>

#include "kernels/error.h"

namespace striate {

namespace fs = std::filesystem;

bool is_picture_name(const fs::path& file) {
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
    if (is_picture_name(it->path()) && it->is_regular_file(ignored)) paths.push_back(it->path().string());
  }
  require<IoError>(!code, "{}: cannot read the folder: {}", folder.string(), code.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace striate
