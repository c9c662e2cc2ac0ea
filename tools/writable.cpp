#include "tools/writable.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"

namespace striate {

void require_writable(const std::string& flag, const std::string& file) {
  try {
    AtomicFile trial(file);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{} {}: {}", flag, file, error.what()));
  }
  require<IoError>(!std::filesystem::is_directory(file), "{} {}: that is a folder; a file is wanted", flag, file);
}

}  // namespace striate
