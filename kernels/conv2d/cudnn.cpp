// The three passes of conv2d.h by cuDNN's convolution calls (deprecated in cuDNN 9, and there): NHWC tensors, filters
// [K,R,S,C/groups], which cuDNN calls NHWC too. The algorithm of a shape is chosen once, by cuDNN's heuristics and not
// by timing, so that every run takes the same one: the first that is deterministic, sums products of the inputs
// themselves (an FFT or Winograd's transform has other errors than the precision that was asked for) and fits into a
// workspace of fixed limit. Bias and activation follow in a kernel of our own.
#include <cudnn.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/conv2d/check.h"
#include "kernels/error.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gpu/check.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

namespace striate::cudnn {

namespace {

constexpr size_t kMostWorkspace = size_t{512} << 20;
constexpr float kOne = 1.0f, kZero = 0.0f;

/// What cuDNN creates and destroys.
template <typename T, cudnnStatus_t (*create)(T*), cudnnStatus_t (*destroy)(T)>
class Owned {
 public:
  Owned() { CUDNN_CHECK(create(&native_)); }
  ~Owned() { destroy(native_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  operator T() const { return native_; }

 private:
  T native_ = nullptr;
};

using Handle = Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy>;
using TensorDescriptor = Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

void describe(const TensorDescriptor& tensor, int64_t n, int64_t h, int64_t w, int64_t c) {
  CUDNN_CHECK(cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, static_cast<int>(n),
                                         static_cast<int>(c), static_cast<int>(h), static_cast<int>(w)));
}

/// A shape in cuDNN's words.
struct Layer {
  TensorDescriptor x, y;
  FilterDescriptor w;
  ConvolutionDescriptor convolution;

  Layer(const Conv2dShape& s, Precision precision) {
    describe(x, s.N, s.H, s.W, s.C);
    describe(y, s.N, s.P(), s.Q(), s.K);
    CUDNN_CHECK(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, static_cast<int>(s.K),
                                           static_cast<int>(s.group_channels()), static_cast<int>(s.R),
                                           static_cast<int>(s.S)));
    CUDNN_CHECK(cudnnSetConvolution2dDescriptor(convolution, static_cast<int>(s.pad_h), static_cast<int>(s.pad_w),
                                                static_cast<int>(s.stride_h), static_cast<int>(s.stride_w),
                                                static_cast<int>(s.dilation_h), static_cast<int>(s.dilation_w),
                                                CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution, static_cast<int>(s.groups)));
    // For float32 tensors the default allows tf32, and FMA forbids it.
    CUDNN_CHECK(
        cudnnSetConvolutionMathType(convolution, precision == Precision::fp32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH));
  }
};

// What cuDNN names differently for each pass.
struct Forward {
  using Found = cudnnConvolutionFwdAlgoPerf_t;
  using Algorithm = cudnnConvolutionFwdAlgo_t;
  static constexpr const char* kName = "forward";

  static cudnnStatus_t count(cudnnHandle_t handle, int* most) {
    return cudnnGetConvolutionForwardAlgorithmMaxCount(handle, most);
  }
  static cudnnStatus_t rank(cudnnHandle_t handle, const Layer& l, int most, int* count, Found* found) {
    return cudnnGetConvolutionForwardAlgorithm_v7(handle, l.x, l.w, l.convolution, l.y, most, count, found);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Layer& l, Algorithm algorithm, size_t* bytes) {
    return cudnnGetConvolutionForwardWorkspaceSize(handle, l.x, l.w, l.convolution, l.y, algorithm, bytes);
  }
  static bool sums_products(Algorithm a) {
    return a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM || a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM ||
           a == CUDNN_CONVOLUTION_FWD_ALGO_GEMM || a == CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
  }
};

struct BackwardData {
  using Found = cudnnConvolutionBwdDataAlgoPerf_t;
  using Algorithm = cudnnConvolutionBwdDataAlgo_t;
  static constexpr const char* kName = "backward-data";

  static cudnnStatus_t count(cudnnHandle_t handle, int* most) {
    return cudnnGetConvolutionBackwardDataAlgorithmMaxCount(handle, most);
  }
  static cudnnStatus_t rank(cudnnHandle_t handle, const Layer& l, int most, int* count, Found* found) {
    return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, l.w, l.y, l.convolution, l.x, most, count, found);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Layer& l, Algorithm algorithm, size_t* bytes) {
    return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, l.w, l.y, l.convolution, l.x, algorithm, bytes);
  }
  static bool sums_products(Algorithm a) {
    return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 || a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
  }
};

struct BackwardWeight {
  using Found = cudnnConvolutionBwdFilterAlgoPerf_t;
  using Algorithm = cudnnConvolutionBwdFilterAlgo_t;
  static constexpr const char* kName = "backward-weight";

  static cudnnStatus_t count(cudnnHandle_t handle, int* most) {
    return cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(handle, most);
  }
  static cudnnStatus_t rank(cudnnHandle_t handle, const Layer& l, int most, int* count, Found* found) {
    return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, l.x, l.y, l.convolution, l.w, most, count, found);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Layer& l, Algorithm algorithm, size_t* bytes) {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, l.x, l.y, l.convolution, l.w, algorithm, bytes);
  }
  static bool sums_products(Algorithm a) {
    return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 || a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 ||
           a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
  }
};

/// How one pass of one shape is computed.
template <typename Pass>
struct Plan {
  Conv2dShape shape;
  Precision precision;
  Layer layer;
  typename Pass::Algorithm algorithm{};
  size_t bytes = 0;  // of its workspace

  Plan(const Conv2dShape& s, Precision p, cudnnHandle_t handle) : shape(s), precision(p), layer(s, p) {
    int most = 0, count = 0;
    CUDNN_CHECK(Pass::count(handle, &most));
    std::vector<typename Pass::Found> ranking(static_cast<size_t>(most));
    CUDNN_CHECK(Pass::rank(handle, layer, most, &count, ranking.data()));
    ranking.resize(static_cast<size_t>(count));
    for (const auto& found : ranking) {
      if (found.status != CUDNN_STATUS_SUCCESS || found.determinism != CUDNN_DETERMINISTIC) continue;
      if (!Pass::sums_products(found.algo)) continue;
      // The ranking was for this kind of arithmetic, which the algorithm must then be given; fp32 stays at FMA.
      if (precision != Precision::fp32) CUDNN_CHECK(cudnnSetConvolutionMathType(layer.convolution, found.mathType));
      algorithm = found.algo;
      if (Pass::workspace(handle, layer, algorithm, &bytes) == CUDNN_STATUS_SUCCESS && bytes <= kMostWorkspace) return;
    }
    throw ConfigError(
        fmt::format("{}: cuDNN has no deterministic algorithm for its {} with up to {} MiB of workspace; use "
                    "model.conv: own",
                    s.to_string(), Pass::kName, kMostWorkspace >> 20));
  }
};

/// cuDNN on one stream, with what was chosen so far.
class Library {
 public:
  explicit Library(gpu::Stream& stream) {
    CUDNN_CHECK(cudnnSetStream(handle_, static_cast<cudaStream_t>(stream.native())));
  }
  cudnnHandle_t handle() const { return handle_; }

  template <typename Pass>
  const Plan<Pass>& plan(const Conv2dShape& shape, Precision precision) {
    std::vector<std::unique_ptr<Plan<Pass>>>& known = plans(Pass{});
    for (const auto& plan : known) {
      if (plan->shape == shape && plan->precision == precision) return *plan;
    }
    return *known.emplace_back(std::make_unique<Plan<Pass>>(shape, precision, handle_));
  }

 private:
  auto& plans(Forward) { return forward_; }
  auto& plans(BackwardData) { return backward_data_; }
  auto& plans(BackwardWeight) { return backward_weight_; }

  Handle handle_;
  std::vector<std::unique_ptr<Plan<Forward>>> forward_;
  std::vector<std::unique_ptr<Plan<BackwardData>>> backward_data_;
  std::vector<std::unique_ptr<Plan<BackwardWeight>>> backward_weight_;
};

/// Calls run(library, plan, workspace, first image) for parts of the batch that 31 bits count.
template <typename Pass, typename T, typename Run>
void in_parts(const Conv2dShape& shape, Context& context, Run&& run) {
  require<ConfigError>(
      context.precision != Precision::bf16 && std::is_same_v<T, float>,
      "conv2d by cudnn: its convolutions know no bf16 with gradients of float32; use precision fp32 or tf32, or "
      "model.conv: own");
  const int64_t most = images_per_launch(shape);
  for (int64_t first = 0; first < shape.N; first += most) {
    if (!context.cudnn_handle) context.cudnn_handle = std::make_shared<Library>(*context.stream);
    Library& library = *static_cast<Library*>(context.cudnn_handle.get());
    Conv2dShape images = shape;
    images.N = std::min(most, shape.N - first);
    const Plan<Pass>& plan = library.plan<Pass>(images, context.precision);
    run(library.handle(), plan, plan.bytes > 0 ? context.workspace->reserve(plan.bytes) : nullptr, first);
  }
}

}  // namespace

std::string missing() { return ""; }

template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  in_parts<Forward, T>(
      shape, context, [&](cudnnHandle_t handle, const Plan<Forward>& plan, void* workspace, int64_t first) {
        const Conv2dShape& s = plan.shape;
        const Layer& l = plan.layer;
        T* const part_y = y + first * s.P() * s.Q() * s.K;
        CUDNN_CHECK(cudnnConvolutionForward(handle, &kOne, l.x, x + first * s.H * s.W * s.C, l.w, w, l.convolution,
                                            plan.algorithm, workspace, plan.bytes, &kZero, l.y, part_y));
        cuda::finish_rows(part_y, b, activation, s.N * s.P() * s.Q(), s.K, context);
      });
}

template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context) {
  shape.check();
  in_parts<BackwardData, T>(
      shape, context, [&](cudnnHandle_t handle, const Plan<BackwardData>& plan, void* workspace, int64_t first) {
        const Conv2dShape& s = plan.shape;
        const Layer& l = plan.layer;
        CUDNN_CHECK(cudnnConvolutionBackwardData(handle, &kOne, l.w, w, l.y, dy + first * s.P() * s.Q() * s.K,
                                                 l.convolution, plan.algorithm, workspace, plan.bytes, &kZero, l.x,
                                                 dx + first * s.H * s.W * s.C));
      });
}

template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  const auto mode = [&](int64_t first) { return first > 0 ? Accumulate::yes : accumulate; };
  in_parts<BackwardWeight, T>(
      shape, context, [&](cudnnHandle_t handle, const Plan<BackwardWeight>& plan, void* workspace, int64_t first) {
        const Conv2dShape& s = plan.shape;
        const Layer& l = plan.layer;
        const T* const part_dy = dy + first * s.P() * s.Q() * s.K;
        CUDNN_CHECK(cudnnConvolutionBackwardFilter(handle, &kOne, l.x, x + first * s.H * s.W * s.C, l.y, part_dy,
                                                   l.convolution, plan.algorithm, workspace, plan.bytes,
                                                   mode(first) == Accumulate::yes ? &kOne : &kZero, l.w, dw));
        if (db) cuda::sum_rows(part_dy, db, s.N * s.P() * s.Q(), s.K, mode(first), context);
      });
  if (shape.N > 0 || accumulate == Accumulate::yes) return;
  // Sums of nothing.
  gpu::set(dw, 0, static_cast<size_t>(shape.w_size()) * sizeof(float), *context.stream);
  if (db) cuda::sum_rows(dy, db, 0, shape.K, accumulate, context);
}

template void conv2d_forward<float>(const float*, const float*, const float*, float*, const Conv2dShape&, Activation,
                                    Context&);
template void conv2d_backward_data<float>(const float*, const float*, float*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<float>(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate,
                                            Context&);
template void conv2d_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const Conv2dShape&,
                                       Activation, Context&);
template void conv2d_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const Conv2dShape&,
                                               Accumulate, Context&);

}  // namespace striate::cudnn
