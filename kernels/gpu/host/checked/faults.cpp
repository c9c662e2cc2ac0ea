#include "kernels/gpu/host/checked/faults.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/error.h"

extern "C" const char __executable_start;  // the linker's

namespace striate::gpu::host::checked {

namespace {

CollectedFaults* collected = nullptr;

/// "file:line" of addr2line, outermost last.
std::vector<SourceLine> inlined_lines(Code code) {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  std::vector<SourceLine> lines;
  if (length <= 0) return lines;
  program[length] = '\0';
  // The return address is that of the next instruction.
  const std::string command = fmt::format("addr2line -i -e '{}' {:#x} 2>/dev/null", program, code - 1);
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return lines;
  char line[4096];
  while (std::fgets(line, sizeof(line), pipe)) {
    char* colon = std::strrchr(line, ':');
    if (!colon || line[0] == '?') continue;
    *colon = '\0';
    // With ccache the compiler is given paths such as <build>/../tests.
    lines.push_back({std::filesystem::path(line).lexically_normal().string(), std::atoi(colon + 1)});
  }
  pclose(pipe);
  return lines;
}

/// Empty where the file is none of the project's. By the folders that hold kernels and not by where the project lies: a
/// link to it, or objects from a build cache, give it another name.
std::string_view from_project_root(std::string_view file) {
  for (const std::string_view folder : {"/tests/kernels/", "/kernels/"}) {
    const size_t at = file.rfind(folder);
    if (at != std::string_view::npos) return file.substr(at + 1);
  }
  return {};
}

}  // namespace

CollectedFaults::CollectedFaults() { collected = this; }
CollectedFaults::~CollectedFaults() { collected = nullptr; }

void raise(FaultReport report) {
  if (collected) {
    collected->faults_.push_back(std::move(report));
    return;
  }
  std::fprintf(stderr, "%s\n", report.text.c_str());
  std::abort();
}

Code code_of(const void* return_address) {
  return static_cast<Code>(static_cast<const char*>(return_address) - &__executable_start);
}

const SourceLine& source_line(Code code) {
  static auto& known = *new std::unordered_map<Code, SourceLine>;
  const auto found = known.find(code);
  if (found != known.end()) return found->second;
  SourceLine best{"(unknown place: addr2line of binutils is missing)", 0};
  for (const SourceLine& line : inlined_lines(code)) {
    const std::string_view file = from_project_root(line.file);
    if (file.empty()) {
      if (best.line == 0) best = line;
      continue;
    }
    best = {std::string(file), line.line};
    if (best.file.rfind("kernels/gpu/", 0) != 0) break;
  }
  return known.emplace(code, std::move(best)).first->second;
}

}  // namespace striate::gpu::host::checked
