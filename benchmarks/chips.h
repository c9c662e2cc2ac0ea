#pragma once

#include "kernels/gemm/tile_choice.h"

namespace striate::bench {

/// A GPU's published limits; what is not published says so.
struct Chip {
  const char* name;
  int arch;  ///< 80: sm_80
  int multiprocessors;
  double clock;                               ///< Hz, at which the tensor cores' peak is stated
  double fp32_flops, tf32_flops, bf16_flops;  ///< per second, dense
  double mma_share;                           ///< of the tensor cores' peak that mma.sync can reach
  double memory_bytes;                        ///< per second
  double cache_bytes_per_clock;               ///< from the L2 to all multiprocessors
  double wavefronts_per_clock = 1.0;          ///< of a multiprocessor's shared memory: 128 bytes
  double issues_per_clock = 4.0;              ///< warp instructions of a multiprocessor
  double conversions_per_clock = 2.0;         ///< warp instructions of a multiprocessor: 64 results
  double shared_bytes;                        ///< of a multiprocessor; each block takes 1 KiB more than it asks for
  double memory_latency;                      ///< clocks
};

// NVIDIA A100 Tensor Core GPU Architecture, tables 1 and 4 (SXM4, 40 GB), and its "5120 bytes per clock" for the L2.
// CUDA C++ Programming Guide, throughput of native arithmetic instructions: conversions. Latencies: Luo et al. 2024
// and 2025 (arXiv:2402.13499, 2501.12084), "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking and
// Multiple Level Analysis", as others quote them.
inline constexpr Chip kA100{
    .name = "A100 SXM4 40 GB",
    .arch = 80,
    .multiprocessors = 108,
    .clock = 1.41e9,
    .fp32_flops = 19.5e12,
    .tf32_flops = 156e12,
    .bf16_flops = 312e12,
    .mma_share = 1.0,
    .memory_bytes = 1555e9,
    .cache_bytes_per_clock = 5120,
    .shared_bytes = 164 * 1024,
    .memory_latency = 466,
};

// Tiles are chosen by the same figures.
constexpr bool agree(double rate, double of_all, const Chip& chip) {
  const double expected = of_all / (chip.multiprocessors * chip.clock);
  return rate > 0.99 * expected && rate < 1.01 * expected;
}
static_assert(agree(tile::kA100Rates.fp32, kA100.fp32_flops / 2, kA100) &&
              agree(tile::kA100Rates.tf32, kA100.tf32_flops / 2, kA100) &&
              agree(tile::kA100Rates.bf16, kA100.bf16_flops / 2, kA100) &&
              agree(tile::kA100Rates.memory_bytes, kA100.memory_bytes, kA100) &&
              agree(tile::kA100Rates.cache_bytes, kA100.cache_bytes_per_clock* kA100.clock, kA100) &&
              tile::kA100Rates.wavefronts == kA100.wavefronts_per_clock);

// NVIDIA H100 Tensor Core GPU Architecture, table 2 (SXM5). mma.sync: on average 62.9% of the peak, where wgmma reaches
// more than 95% (Luo et al. 2025, section 6.2, an H800 PCIe, as others quote it). Assumed: an L2 as wide as the A100's,
// since NVIDIA gives no figure.
inline constexpr Chip kH100{
    .name = "H100 SXM5 80 GB",
    .arch = 90,
    .multiprocessors = 132,
    .clock = 1.83e9,
    .fp32_flops = 66.9e12,
    .tf32_flops = 494.7e12,
    .bf16_flops = 989.4e12,
    .mma_share = 0.629,
    .memory_bytes = 3352e9,
    .cache_bytes_per_clock = 5120,
    .shared_bytes = 228 * 1024,
    .memory_latency = 656,
};

}  // namespace striate::bench
