#pragma once

namespace striate::gpu::host {

/// d [rows][columns] += a [rows][depth] · b [depth][columns], each sum in the order of depth, rounded to float at every
/// step. columns is a multiple of 8, rows too. Products are exact where a and b have at most 12 significant bits, and
/// then the result has the same bits with and without fused multiply-adds.
void multiply_add(int rows, int columns, int depth, const float* a, const float* b, float* d);

}  // namespace striate::gpu::host
