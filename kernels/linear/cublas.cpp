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

template <typename T>
inline constexpr cudaDataType kType = std::is_same_v<T, bfloat16> ? CUDA_R_16BF : CUDA_R_32F;

template <typename T>
cublasComputeType_t compute_type(Precision precision) {
  const bool rounds = std::is_same_v<T, float> && precision == Precision::tf32;
  return rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

/// A row-major matrix as it lies, [.., columns], and whether the product wants it transposed.
template <typename T>
struct Operand {
  const T* data;
  int64_t columns;
  bool transposed = false;

  cublasOperation_t operation() const { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }
};

/// c [rows, columns] = a·b, or added to; row-major. Sizes fit into 31 bits.
template <typename T, typename Result>
void multiply(const Operand<T>& a, const Operand<T>& b, Result* c, int64_t rows, int64_t columns, int64_t depth,
              Accumulate accumulate, Context& context) {
  const float one = 1.0f, beta = accumulate == Accumulate::yes ? 1.0f : 0.0f;
  // cᵀ = bᵀ·aᵀ, and to cuBLAS every matrix is the transposed one already.
  CUBLAS_CHECK(cublasGemmEx(handle(context), b.operation(), a.operation(), static_cast<int>(columns),
                            static_cast<int>(rows), static_cast<int>(depth), &one, b.data, kType<T>,
                            static_cast<int>(b.columns), a.data, kType<T>, static_cast<int>(a.columns), &beta, c,
                            kType<Result>, static_cast<int>(columns), compute_type<T>(context.precision),
                            CUBLAS_GEMM_DEFAULT));
}

}  // namespace

std::string missing() { return ""; }

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  check_32_bit(shape);
  if (shape.N == 0) return;
  multiply<T>({x, shape.C}, {w, shape.C, true}, y, shape.N, shape.K, shape.C, Accumulate::no, context);
  cuda::finish_rows(y, b, activation, shape.N, shape.K, context);
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N == 0) return;
  multiply<T>({dy, shape.K}, {w, shape.C}, dx, shape.N, shape.C, shape.K, Accumulate::no, context);
}

template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N > 0) {
    multiply<T>({dy, shape.K, true}, {x, shape.C}, dw, shape.K, shape.C, shape.N, accumulate, context);
  } else if (accumulate == Accumulate::no) {
    gpu::set(dw, 0, static_cast<size_t>(shape.K * shape.C) * sizeof(float), *context.stream);
  }
  if (db) cuda::sum_rows(dy, db, shape.N, shape.K, accumulate, context);
}

template void linear_forward<float>(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                    Context&);
template void linear_backward_data<float>(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);
template void linear_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                       Activation, Context&);
template void linear_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const LinearShape&, Context&);
template void linear_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const LinearShape&,
                                               Accumulate, Context&);

}  // namespace striate::cublas
