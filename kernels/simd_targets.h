// Which of Highway's instruction sets the vectorised files are compiled for: the same for all, whatever a newer Highway
// adds, since register tiles are tuned for these. Include it before any header of Highway.
#pragma once

// AVX2, AVX-512, NEON and the baseline. SSSE3, SSE4 (bits 12, 11) and the refinements of AVX-512 (bits 0 … 7) and of
// NEON (bit 23) would double the compile time for a few percent; SVE and RVV (bits 24 … 27, 37) have vectors of unknown
// size, which no array can hold. By number, since names differ between Highway's versions.
// With sanitizers, which look for faults of memory, AVX2 (bit 9) is left out too: what it does otherwise than AVX-512
// and the baseline is in masked loads that they do not see.
#if !defined(HWY_DISABLED_TARGETS) && defined(__SANITIZE_ADDRESS__)
#define HWY_DISABLED_TARGETS ((1LL << 12) | (1LL << 11) | (1LL << 9) | ((1LL << 8) - 1) | (31LL << 23) | (1LL << 37))
#elif !defined(HWY_DISABLED_TARGETS)
#define HWY_DISABLED_TARGETS ((1LL << 12) | (1LL << 11) | ((1LL << 8) - 1) | (31LL << 23) | (1LL << 37))
#endif
