// The peak of VDPBF16PS (AVX-512 BF16): 14 chains, enough to cover 6 cycles of latency on two units.
#include <hwy/base.h>

#include "benchmarks/kernels_limits.h"

#if HWY_ARCH_X86_64
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace striate::bench {
namespace {

double run_chains(int64_t steps, float* result) {
  constexpr int kChains = 14;
  const __m512 factor = _mm512_set1_ps(*result);
  const __m512bh a = _mm512_cvtne2ps_pbh(factor, factor), b = _mm512_cvtne2ps_pbh(factor, factor);
  __m512 chain[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) chain[i] = _mm512_set1_ps(0.1f * static_cast<float>(i));
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) chain[i] = _mm512_dpbf16_ps(chain[i], a, b);
  }
  __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) sum = _mm512_add_ps(sum, chain[i]);
  *result = _mm512_cvtss_f32(sum);
  return 4.0 * 16 * kChains * static_cast<double>(steps);
}

}  // namespace
}  // namespace striate::bench

HWY_POP_ATTRIBUTES

namespace striate::bench {
double multiply_add_bf16(int64_t steps, float* result) {
  return __builtin_cpu_supports("avx512bf16") ? run_chains(steps, result) : 0.0;
}
}  // namespace striate::bench

#else

namespace striate::bench {
double multiply_add_bf16(int64_t, float*) { return 0.0; }
}  // namespace striate::bench

#endif
