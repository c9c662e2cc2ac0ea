#include "tools/build_facts.h"

namespace striate {
namespace {

#if defined(__clang__)
const std::string kCompiler = "Clang " __clang_version__;
#else
const std::string kCompiler = "GCC " __VERSION__;
#endif

}  // namespace

Provenance build_facts() {
  return {{"commit", build_commit()},
          {"version", "Striate " STRIATE_VERSION},
          {"compiler", kCompiler + ", " STRIATE_BUILD_TYPE}};
}

std::string comment_of(const Provenance& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += "# " + name + ": " + value + "\n";
  return text;
}

}  // namespace striate
