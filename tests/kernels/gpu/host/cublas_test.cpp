// The product that stands in for cuBLAS, against the definition: column-major, leading dimensions, alpha and beta.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/gpu/host/cublas/cublas_v2.h"
#include "kernels/gpu/memory.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

class HostCublas : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    cublasSetAtomicsMode(handle_, CUBLAS_ATOMICS_NOT_ALLOWED);
    cublasSetWorkspace(handle_, workspace_, sizeof(workspace_));
  }
  void TearDown() override { cublasDestroy(handle_); }

  cublasStatus_t multiply(cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, float alpha,
                          const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc,
                          cublasComputeType_t type = CUBLAS_COMPUTE_32F) {
    return cublasGemmEx(handle_, transa, transb, m, n, k, &alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, &beta, c,
                        CUDA_R_32F, ldc, type, CUBLAS_GEMM_DEFAULT);
  }

  cublasHandle_t handle_ = nullptr;
  alignas(256) float workspace_[4] = {};
};

TEST_F(HostCublas, MultipliesColumnMajorMatricesAsTheyAreTransposed) {
  constexpr int m = 5, n = 7, k = 3, lda = 9, ldb = 8, ldc = 6;  // leading dimensions with room to spare
  const auto a = small_integers<float>(lda * 9, 1), b = small_integers<float>(ldb * 9, 2);
  for (const cublasOperation_t transa : {CUBLAS_OP_N, CUBLAS_OP_T}) {
    for (const cublasOperation_t transb : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      for (const float beta : {0.0f, 1.0f, -2.0f}) {
        // With beta 0 what is there must not be read.
        GuardedBuffer<float> c(ldc * n, beta == 0.0f ? poison<float>() : 3.0f);
        ASSERT_EQ(multiply(transa, transb, m, n, k, 2.0f, a.data(), lda, b.data(), ldb, beta, c.data(), ldc),
                  CUBLAS_STATUS_SUCCESS);
        for (int j = 0; j < n; ++j) {
          for (int i = 0; i < ldc; ++i) {
            if (i >= m) {  // between the columns
              EXPECT_TRUE(beta == 0.0f ? std::isnan(c[j * ldc + i]) : c[j * ldc + i] == 3.0f);
              continue;
            }
            float sum = 0.0f;
            for (int d = 0; d < k; ++d) {
              sum += (transa == CUBLAS_OP_N ? a[d * lda + i] : a[i * lda + d]) *
                     (transb == CUBLAS_OP_N ? b[j * ldb + d] : b[d * ldb + j]);
            }
            EXPECT_EQ(c[j * ldc + i], 2.0f * sum + (beta == 0.0f ? 0.0f : beta * 3.0f))
                << transa << transb << beta << " at " << i << "," << j;
          }
        }
        EXPECT_TRUE(c.intact());
      }
    }
  }
}

TEST_F(HostCublas, RoundsItsFactorsWhereThatIsAllowed) {
  // 1 + 2⁻¹¹ is a tie in tf32, away from zero to 1 + 2⁻¹⁰.
  const float fine = 1.0f + std::ldexp(1.0f, -11), coarse = 1.0f + std::ldexp(1.0f, -8), two = 2.0f;
  const auto product = [&](const float& x, cublasComputeType_t type) {
    float c = 0.0f;
    EXPECT_EQ(multiply(CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, 1.0f, &x, 1, &two, 1, 0.0f, &c, 1, type),
              CUBLAS_STATUS_SUCCESS);
    return c;
  };
  EXPECT_EQ(product(fine, CUBLAS_COMPUTE_32F), 2.0f * fine);
  EXPECT_EQ(product(fine, CUBLAS_COMPUTE_32F_FAST_TF32), 2.0f + std::ldexp(1.0f, -9));
  EXPECT_EQ(product(coarse, CUBLAS_COMPUTE_32F_FAST_TF32), 2.0f * coarse);
}

TEST_F(HostCublas, SumsOfNothingAreZeros) {
  float c[2] = {poison<float>(), 4.0f}, unread = 0.0f;
  ASSERT_EQ(multiply(CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 0, 1.0f, &unread, 1, &unread, 1, 0.0f, c, 1),
            CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 0, 1.0f, &unread, 1, &unread, 1, 1.0f, c + 1, 1),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(c[0], 0.0f);
  EXPECT_EQ(c[1], 4.0f);
}

TEST_F(HostCublas, RefusesWhatDoesNotFitAndWhatCouldVary) {
  float v[4] = {1.0f, 1.0f, 1.0f, 1.0f}, c[4] = {};
  const auto status = [&](int m, int lda, int ldb, int ldc) {
    return multiply(CUBLAS_OP_N, CUBLAS_OP_T, m, 1, 1, 1.0f, v, lda, v, ldb, 0.0f, c, ldc);
  };
  EXPECT_EQ(status(2, 2, 1, 2), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(status(2, 1, 1, 2), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status(2, 2, 0, 2), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status(2, 2, 1, 1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status(-1, 2, 1, 2), CUBLAS_STATUS_INVALID_VALUE);
  cublasSetAtomicsMode(handle_, CUBLAS_ATOMICS_ALLOWED);
  EXPECT_EQ(status(2, 2, 1, 2), CUBLAS_STATUS_NOT_INITIALIZED);
  cublasSetAtomicsMode(handle_, CUBLAS_ATOMICS_NOT_ALLOWED);
  cublasSetStream(handle_, nullptr);  // takes the workspace away
  EXPECT_EQ(status(2, 2, 1, 2), CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cublasSetWorkspace(handle_, workspace_ + 1, sizeof(float)), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_NE(std::string(cublasGetStatusString(CUBLAS_STATUS_NOT_INITIALIZED)).find("workspace"), std::string::npos);
}

}  // namespace
}  // namespace striate::test
