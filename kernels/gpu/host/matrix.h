#pragma once

#include <cstdint>

#include "kernels/gpu/host/block.h"

// What ldmatrix and mma mean on the host (kernels/gpu/matrix.h has the layouts).
namespace striate::gpu::host {

struct Ldmatrix {
  int matrices;  ///< 2 or 4
  bool transposed;
};
/// `count` loads of the current lane, load i from rows[i] to the next words[matrices·i …].
void ldmatrix(const Ldmatrix& load, int count, uint32_t* words, const void* const* rows, Site site);

/// The most fragments of A, and of B, in one call.
constexpr int kMaxFragments = 16;

/// d[m][n] += a[m]·b[n] for the fragments of one lane, d of 4 floats, a of 4 words, b of 2.
void mma_tf32(int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b, Site site);
void mma_bf16(int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b, Site site);

}  // namespace striate::gpu::host
