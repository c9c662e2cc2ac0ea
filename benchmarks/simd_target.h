#pragma once

#include <string>
#include <vector>

namespace striate::bench {

/// The instruction sets that the cpu kernels are compiled for, the best first: avx512, avx2, scalar (no vectors).
std::vector<std::string> simd_targets();
/// Those of them that this CPU has.
std::vector<std::string> supported_simd_targets();
/// From now on the cpu kernels, and the peak that they are measured by, use that one alone; with "best" every one that
/// the CPU has, as they do otherwise. Not while kernels run. Throws ConfigError for what this build or this CPU lacks.
void use_simd_target(const std::string& name);

}  // namespace striate::bench
