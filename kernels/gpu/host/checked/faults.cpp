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
  constexpr std::string_view root = STRIATE_SOURCE_DIR "/";
  for (const SourceLine& line : inlined_lines(code)) {
    const std::string_view file = line.file;
    if (file.substr(0, root.size()) != root) {
      if (best.line == 0) best = line;
      continue;
    }
    best = {std::string(file.substr(root.size())), line.line};
    if (best.file.rfind("kernels/gpu/", 0) != 0) break;
  }
  return known.emplace(code, std::move(best)).first->second;
}

}  // namespace striate::gpu::host::checked
