#include "benchmarks/simd_target.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "kernels/error.h"
// Before Highway's own headers, whose targets it limits.
#include "kernels/simd_targets.h"
//
#include <hwy/targets.h>

namespace striate::bench {
namespace {

std::string name_of(int64_t target) {
  if (target == HWY_AVX3) return "avx512";  // as everybody but Highway calls it
  std::string name = hwy::TargetName(target);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

/// Those of a mask, whose lower bits are better.
std::vector<std::string> names_of(int64_t targets) {
  std::vector<std::string> names;
  for (; targets != 0; targets &= targets - 1) names.push_back(name_of(targets & -targets));
  return names;
}

}  // namespace

std::vector<std::string> simd_targets() { return names_of(HWY_TARGETS); }

std::vector<std::string> supported_simd_targets() {
  const int64_t targets = hwy::SupportedTargets();
  // Asking makes Highway choose again, without regard to what is disabled.
  hwy::GetChosenTarget().Update(targets);
  return names_of(targets & HWY_TARGETS);
}

void use_simd_target(const std::string& name) {
  hwy::DisableTargets(0);
  hwy::GetChosenTarget().DeInit();
  if (name == "best") return;
  const std::vector<std::string> known = simd_targets(), supported = supported_simd_targets();
  require<ConfigError>(std::ranges::find(known, name) != known.end(),
                       "--target {}: the kernels of this build are compiled for {}; expected one of them, or best",
                       name, fmt::join(known, ", "));
  require<ConfigError>(std::ranges::find(supported, name) != supported.end(),
                       "--target {}: this CPU lacks it; it has {}", name, fmt::join(supported, ", "));
  for (int64_t targets = HWY_TARGETS; targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    if (name_of(target) == name) hwy::DisableTargets(HWY_TARGETS & ~target);
  }
  hwy::GetChosenTarget().DeInit();
}

}  // namespace striate::bench
