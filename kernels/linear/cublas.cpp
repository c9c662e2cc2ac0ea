// The three products of linear.h by cuBLAS, which counts column by column: a row-major matrix [R,C] is to it the
// column-major [C,R], so that y = x·wᵀ is asked for as yᵀ = w·xᵀ. Bias and activation follow in a kernel of our own.
// The same bits every run: no atomics, one stream a handle, and a workspace whose size is always the same (cuBLAS
// documentation, "Results reproducibility").
#include <cublas_v2.h>

#include <memory>

#include "kernels/gemm/epilogue.h"
#include "kernels/gpu/check.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"
#include "kernels/linear/check.h"

namespace striate::cublas {

namespace {

class Handle {
 public:
  explicit Handle(gpu::Stream& stream) {
    CUBLAS_CHECK(cublasCreate(&native_));
    try {
      CUBLAS_CHECK(cublasSetStream(native_, static_cast<cudaStream_t>(stream.native())));
      CUBLAS_CHECK(cublasSetAtomicsMode(native_, CUBLAS_ATOMICS_NOT_ALLOWED));
      CUBLAS_CHECK(cublasSetMathMode(native_, CUBLAS_DEFAULT_MATH));
    } catch (...) {
      cublasDestroy(native_);
      throw;
    }
  }
  ~Handle() { cublasDestroy(native_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  cublasHandle_t with(Workspace& workspace) {
    // What cuBLAS recommends for compute capability 9.0 and for older GPUs.
    const size_t bytes = size_t{gpu::properties().compute_capability >= 90 ? 32u : 4u} << 20;
    CUBLAS_CHECK(cublasSetWorkspace(native_, workspace.reserve(bytes), bytes));
    return native_;
  }

 private:
  cublasHandle_t native_ = nullptr;
};

cublasHandle_t handle(Context& context) {
  if (!context.cublas_handle) context.cublas_handle = std::make_shared<Handle>(*context.stream);
  return static_cast<Handle*>(context.cublas_handle.get())->with(*context.workspace);
}

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return CUBLAS_COMPUTE_32F;
    case Precision::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  return CUBLAS_COMPUTE_32F;
}

/// A row-major matrix as it lies, [.., columns], and whether the product wants it transposed.
struct Operand {
  const float* data;
  int64_t columns;
  bool transposed = false;

  cublasOperation_t operation() const { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }
};

/// c [rows, columns] = a·b, or added to; row-major. Sizes fit into 31 bits.
void multiply(const Operand& a, const Operand& b, float* c, int64_t rows, int64_t columns, int64_t depth,
              Accumulate accumulate, Context& context) {
  const float one = 1.0f, beta = accumulate == Accumulate::yes ? 1.0f : 0.0f;
  // cᵀ = bᵀ·aᵀ, and to cuBLAS every matrix is the transposed one already.
  CUBLAS_CHECK(cublasGemmEx(handle(context), b.operation(), a.operation(), static_cast<int>(columns),
                            static_cast<int>(rows), static_cast<int>(depth), &one, b.data, CUDA_R_32F,
                            static_cast<int>(b.columns), a.data, CUDA_R_32F, static_cast<int>(a.columns), &beta, c,
                            CUDA_R_32F, static_cast<int>(columns), compute_type(context.precision),
                            CUBLAS_GEMM_DEFAULT));
}

}  // namespace

std::string missing() { return ""; }

void linear_forward(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  check_32_bit(shape);
  if (shape.N == 0) return;
  multiply({x, shape.C}, {w, shape.C, true}, y, shape.N, shape.K, shape.C, Accumulate::no, context);
  cuda::finish_rows(y, b, activation, shape.N, shape.K, context);
}

void linear_backward_data(const float* dy, const float* w, float* dx, const LinearShape& shape, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N == 0) return;
  multiply({dy, shape.K}, {w, shape.C}, dx, shape.N, shape.C, shape.K, Accumulate::no, context);
}

void linear_backward_weight(const float* x, const float* dy, float* dw, float* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N > 0) {
    multiply({dy, shape.K, true}, {x, shape.C}, dw, shape.K, shape.C, shape.N, accumulate, context);
  } else if (accumulate == Accumulate::no) {
    gpu::set(dw, 0, static_cast<size_t>(shape.K * shape.C) * sizeof(float), *context.stream);
  }
  if (db) cuda::sum_rows(dy, db, shape.N, shape.K, accumulate, context);
}

}  // namespace striate::cublas
