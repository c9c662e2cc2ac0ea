#include "tests/fuzz/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "kernels/error.h"

namespace striate::fuzz {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: expected %s\n", what);
  std::abort();
}

std::vector<std::string_view> split(std::string_view input, size_t count) {
  std::vector<std::string_view> files;
  while (files.size() + 1 < count) {
    const size_t end = std::min(input.find(kNextFile), input.size());
    files.push_back(input.substr(0, end));
    input.remove_prefix(std::min(end + kNextFile.size(), input.size()));
  }
  files.push_back(input);
  return files;
}

std::string Folder::put(const std::string& name, std::string_view bytes) const {
  std::string path = (dir_ / name).string();
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  expect(file >= 0, "a temporary file that can be written");
  expect(::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "room for a temporary file");
  ::close(file);
  return path;
}

}  // namespace striate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    striate::fuzz::read_input({reinterpret_cast<const char*>(data), size});
  } catch (const striate::IoError&) {
  } catch (const striate::ConfigError&) {
  } catch (const striate::ShapeError&) {
  }
  return 0;
}
