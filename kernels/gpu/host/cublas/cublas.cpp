#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/gemm/product.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/host/cublas/cublas_v2.h"
#include "kernels/gpu/host/memory.h"

struct cublasContext {
  striate::ThreadPool threads{1};
  striate::HostWorkspace scratch;
  void* workspace = nullptr;
  cublasAtomicsMode_t atomics = CUBLAS_ATOMICS_ALLOWED;
};

namespace {

float rounded(float x, cublasComputeType_t type) {
  return type == CUBLAS_COMPUTE_32F_FAST_TF32 ? std::bit_cast<float>(striate::gpu::to_tf32(x)) : x;
}

float value_at(const void* data, int64_t i, cudaDataType type) {
  if (type == CUDA_R_16BF) return striate::to_float(static_cast<const striate::bfloat16*>(data)[i]);
  return static_cast<const float*>(data)[i];
}

void store_at(void* data, int64_t i, cudaDataType type, float value) {
  if (type == CUDA_R_16BF) {
    static_cast<striate::bfloat16*>(data)[i] = striate::to_bfloat16(value);
  } else {
    static_cast<float*>(data)[i] = value;
  }
}

struct Matrix {
  const void* data;
  cudaDataType type;
};

/// Element (outer, inner) of the result is data[outer·outer_pitch + inner·inner_pitch], rounded.
std::vector<float> gather(const Matrix& from, int64_t outer, int64_t inner, int64_t outer_pitch, int64_t inner_pitch,
                          cublasComputeType_t type) {
  std::vector<float> dense;
  dense.reserve(static_cast<size_t>(outer * inner));
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      dense.push_back(rounded(value_at(from.data, o * outer_pitch + i * inner_pitch, from.type), type));
    }
  }
  return dense;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t) {
  handle->workspace = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t bytes) {
  constexpr uintptr_t kAlignment = 256;
  if (reinterpret_cast<uintptr_t>(workspace) % kAlignment != 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->workspace = bytes > 0 ? workspace : nullptr;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t mode) {
  handle->atomics = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "atomics are not forbidden, or there is no workspace";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "a size, a leading dimension or an alignment does not fit";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "matrices of other types than float32 or bfloat16";
  }
  return "unknown";
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void* alpha, const void* A, cudaDataType Atype, int lda, const void* B,
                            cudaDataType Btype, int ldb, const void* beta, void* C, cudaDataType Ctype, int ldc,
                            cublasComputeType_t computeType, cublasGemmAlgo_t) {
  if (!handle->workspace || handle->atomics != CUBLAS_ATOMICS_NOT_ALLOWED) return CUBLAS_STATUS_NOT_INITIALIZED;
  // float32 throughout, or bfloat16 into either, which has one type of computation.
  if (Atype != Btype || (Atype == CUDA_R_32F && Ctype != CUDA_R_32F) ||
      (Atype == CUDA_R_16BF && computeType != CUBLAS_COMPUTE_32F)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const int a_rows = transa == CUBLAS_OP_N ? m : k, b_rows = transb == CUBLAS_OP_N ? k : n;
  if (m < 0 || n < 0 || k < 0 || lda < std::max(1, a_rows) || ldb < std::max(1, b_rows) || ldc < std::max(1, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;

  const striate::gpu::host::DeviceAccess access;
  // Row-major, Cᵀ [n,m] = op(B)ᵀ [n,k] · op(A)ᵀ, the latter kept as op(A) [m,k]: its depth is contiguous.
  const bool a_plain = transa == CUBLAS_OP_N, b_plain = transb == CUBLAS_OP_N;
  const std::vector<float> a = gather({A, Atype}, m, k, a_plain ? 1 : lda, a_plain ? lda : 1, computeType);
  const std::vector<float> b = gather({B, Btype}, n, k, b_plain ? ldb : 1, b_plain ? 1 : ldb, computeType);
  std::vector<float> product(static_cast<size_t>(n) * static_cast<size_t>(m));
  striate::gemm::Product<float> p;
  p.a = striate::gemm::plain_rows(b.data(), n, k);
  p.w.w = a.data();
  p.w.stride = k;
  p.columns = m;
  p.c = product.data();
  p.c_image_stride = m;
  striate::Context context{&handle->threads, &handle->scratch};
  if (k > 0) striate::gemm::multiply(p, context);

  const float alpha_value = *static_cast<const float*>(alpha), beta_value = *static_cast<const float*>(beta);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) {
      const float value = alpha_value * product[static_cast<size_t>(j * m + i)];
      const int64_t at = j * ldc + i;
      store_at(C, at, Ctype, beta_value == 0.0f ? value : value + beta_value * value_at(C, at, Ctype));
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}
