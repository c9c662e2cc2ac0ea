#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temp_dir.h"

/// What every target has in common; tests/fuzz.sh runs them.
namespace striate::fuzz {

/// A target: gives one input to a reader. Damaged input may end in an IoError, a ConfigError or a ShapeError; whatever
/// else is thrown is a crash, as is everything that the sanitizers report.
void read_input(std::string_view input);

/// Ends the process, as a fault that was found, unless `holds`.
void expect(bool holds, const char* what);

/// Where an input holds several files, this stands between them.
inline constexpr std::string_view kNextFile = "\n--8<--\n";
/// The files of an input, exactly `count`: missing ones are empty, the last has all that is left.
std::vector<std::string_view> split(std::string_view input, size_t count);

/// A folder whose files are written anew for each input; it goes with the process.
class Folder {
 public:
  /// The path of the file.
  std::string put(const std::string& name, std::string_view bytes) const;
  const std::filesystem::path& path() const { return dir_.path(); }

 private:
  test::TempDir dir_;
};

}  // namespace striate::fuzz
