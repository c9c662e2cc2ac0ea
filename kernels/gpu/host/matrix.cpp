#include "kernels/gpu/host/matrix.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/gpu/host/multiply_add.h"

namespace striate::gpu::host {

namespace {

struct Loads {
  const Ldmatrix* load;
  int count;
  uint32_t* words;
  const void* const* rows;
};

template <bool kTransposed>
void load_matrices(uint32_t, WarpLanes lanes) {
  const auto of = [&](int lane) -> const Loads& { return *static_cast<const Loads*>(lanes[lane]); };
  const int count = of(0).count, matrices = of(0).load->matrices;
  for (int i = 0; i < count; ++i) {
    for (int matrix = 0; matrix < matrices; ++matrix) {
      const std::byte* rows[8];
      for (int r = 0; r < 8; ++r) rows[r] = static_cast<const std::byte*>(of(8 * matrix + r).rows[i]);
      for (int lane = 0; lane < kWarpSize; ++lane) {
        const int g = lane / 4, t = lane % 4;
        uint32_t& word = of(lane).words[i * matrices + matrix];
        if constexpr (kTransposed) {
          uint16_t low, high;
          std::memcpy(&low, rows[2 * t] + 2 * g, sizeof(low));
          std::memcpy(&high, rows[2 * t + 1] + 2 * g, sizeof(high));
          word = uint32_t{high} << 16 | low;
        } else {
          std::memcpy(&word, rows[g] + 4 * t, sizeof(word));
        }
      }
    }
  }
}

struct Fragments {
  int m, n;
  float* d;
  const uint32_t *a, *b;
};

float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

struct Tf32 {
  static constexpr int kDepth = 8;
  /// Puts a lane's fragment into the matrix it is of: a into [16][depth], b into [depth] rows of `columns`.
  static void place_a(const uint32_t* words, int g, int t, float* a) {
    for (int i = 0; i < 4; ++i) a[(g + 8 * (i & 1)) * kDepth + t + 4 * (i >> 1)] = as_float(words[i] & 0xFFFFE000u);
  }
  static void place_b(const uint32_t* words, int g, int t, float* b, int columns) {
    for (int i = 0; i < 2; ++i) b[(t + 4 * i) * columns + g] = as_float(words[i] & 0xFFFFE000u);
  }
};

struct Bf16 {
  static constexpr int kDepth = 16;
  static float half(const uint32_t* words, int i) {
    return as_float(i & 1 ? words[i >> 1] & 0xFFFF0000u : words[i >> 1] << 16);
  }
  static void place_a(const uint32_t* words, int g, int t, float* a) {
    for (int i = 0; i < 8; ++i) a[(g + 8 * (i >> 1 & 1)) * kDepth + 2 * t + (i & 1) + 8 * (i >> 2)] = half(words, i);
  }
  static void place_b(const uint32_t* words, int g, int t, float* b, int columns) {
    for (int i = 0; i < 4; ++i) b[(2 * t + (i & 1) + 8 * (i >> 1)) * columns + g] = half(words, i);
  }
};

/// Too large for a fiber's stack.
struct Dense {
  alignas(64) float a[16 * kMaxFragments * 16];
  alignas(64) float b[8 * kMaxFragments * 16];
  alignas(64) float d[16 * kMaxFragments * 8 * kMaxFragments];
};
thread_local Dense dense;

/// The fragments become dense matrices and back: lanes hold pairs of neighbours in d, single elements of a and b.
template <typename Format>
void multiply_fragments(uint32_t, WarpLanes lanes) {
  const auto [m_count, n_count, first_d, first_a, first_b] = *static_cast<const Fragments*>(lanes[0]);
  const int columns = 8 * n_count;
  auto& [a, b, d] = dense;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const Fragments& from = *static_cast<const Fragments*>(lanes[lane]);
    for (int m = 0; m < m_count; ++m) Format::place_a(from.a + 4 * m, g, t, a + 16 * m * Format::kDepth);
    for (int n = 0; n < n_count; ++n) Format::place_b(from.b + 2 * n, g, t, b + 8 * n, columns);
    for (int m = 0; m < m_count; ++m) {
      for (int n = 0; n < n_count; ++n) {
        const float* pairs = from.d + 4 * (m * n_count + n);
        float* corner = d + (16 * m + g) * columns + 8 * n + 2 * t;
        std::memcpy(corner, pairs, 2 * sizeof(float));
        std::memcpy(corner + 8 * columns, pairs + 2, 2 * sizeof(float));
      }
    }
  }
  multiply_add(16 * m_count, columns, Format::kDepth, a, b, d);
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4, t = lane % 4;
    float* to = static_cast<const Fragments*>(lanes[lane])->d;
    for (int m = 0; m < m_count; ++m) {
      for (int n = 0; n < n_count; ++n) {
        float* pairs = to + 4 * (m * n_count + n);
        const float* corner = d + (16 * m + g) * columns + 8 * n + 2 * t;
        std::memcpy(pairs, corner, 2 * sizeof(float));
        std::memcpy(pairs + 2, corner + 8 * columns, 2 * sizeof(float));
      }
    }
  }
}

const char* name_of(const Ldmatrix& load) {
  if (load.matrices == 4) return load.transposed ? "ldmatrix_x4_trans" : "ldmatrix_x4";
  return load.transposed ? "ldmatrix_x2_trans" : "ldmatrix_x2";
}

}  // namespace

void ldmatrix(const Ldmatrix& load, int count, uint32_t* words, const void* const* rows, Site site) {
  if (lane_id() < 8 * load.matrices) {
    for (int i = 0; i < count; ++i) {
      const bool aligned = reinterpret_cast<uintptr_t>(rows[i]) % 16 == 0;
      if (aligned && is_shared(rows[i], 16)) continue;
      fail(fmt::format("{} at {}:{}: the row's address {} is {}", name_of(load), site.file, site.line, rows[i],
                       aligned ? "not in the block's shared memory" : "not a multiple of 16 bytes")
               .c_str());
    }
  }
  Loads mine{&load, count, words, rows};
  warp_meet(name_of(load), site, kFullMask, &mine, load.transposed ? load_matrices<true> : load_matrices<false>);
}

void mma_tf32(int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Fragments mine{a_fragments, b_fragments, d, a, b};
  warp_meet("mma_m16n8k8_tf32", site, kFullMask, &mine, multiply_fragments<Tf32>);
}

void mma_bf16(int a_fragments, int b_fragments, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Fragments mine{a_fragments, b_fragments, d, a, b};
  warp_meet("mma_m16n8k16_bf16", site, kFullMask, &mine, multiply_fragments<Bf16>);
}

}  // namespace striate::gpu::host
