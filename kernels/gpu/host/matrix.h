#pragma once

#include <cstdint>

#include "kernels/gpu/host/block.h"

// What ldmatrix and mma mean on the host (kernels/gpu/matrix.h has the layouts).
namespace striate::gpu::host {

/// Element i of a lane's fragment of matrix i goes to *words[i].
template <int kMatrices, bool kTransposed>
void ldmatrix(Site site, uint32_t* const (&words)[kMatrices], const void* row);
extern template void ldmatrix<2, false>(Site, uint32_t* const (&)[2], const void*);
extern template void ldmatrix<2, true>(Site, uint32_t* const (&)[2], const void*);
extern template void ldmatrix<4, false>(Site, uint32_t* const (&)[4], const void*);
extern template void ldmatrix<4, true>(Site, uint32_t* const (&)[4], const void*);

/// The most fragments of A, and of B, in one call.
constexpr int kMaxFragments = 16;

/// d[m][n] += a[m]·b[n] for the fragments of one lane, d of 4 floats, a of 4 words, b of 2.
void mma_tf32(Site site, int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b);
void mma_bf16(Site site, int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b);

}  // namespace striate::gpu::host
