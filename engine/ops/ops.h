#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"
#include "kernels/activation/activation.h"
#include "kernels/shapes.h"
#include "kernels/step_result/step_result.h"

namespace striate {
class Communicator;
}

/// The differentiable operations. Each checks shapes (ShapeError), runs the kernel of its inputs' device and records
/// its backward. All inputs of an op live on one device. Maths and sources stand in kernels/<op>/<op>.h.
///
/// Activations are float32 or bfloat16, the output of an op as its inputs; parameters, statistics and losses are
/// float32 always. Where the device's precision is bf16, conv2d and linear round an x of float32 first: everything
/// behind them is bfloat16 then.
namespace striate::ops {

/// Whose kernels compute an op on device cuda: our own, or the vendor's (conv2d: cuDNN's, linear: cuBLAS's). The latter
/// on another device, or where this build lacks the library, is a ConfigError.
enum class Kernels { own, vendor };

/// What Conv2dShape holds besides the sizes of x and w.
struct Conv2dOptions {
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;
};

struct Pool2dOptions {
  int64_t window_h = 2, window_w = 2;
  int64_t stride_h = 2, stride_w = 2;
  int64_t pad_h = 0, pad_w = 0;
};

struct LocalResponseNormOptions {
  int64_t size = 5;
  float k = 2.0f, alpha = 1e-4f, beta = 0.75f;
  bool divide_alpha = false;
};

/// x [N,H,W,C], w [K,R,S,C/groups], b [K] or undefined → act(x ∗ w + b) [N,P,Q,K]; activation: none, relu or
/// leaky_relu.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
              Activation activation = Activation::none, Kernels kernels = Kernels::own);
/// max_pool2d(conv2d(…)) with all of their bits, forward and backward, where nobody needs the convolution's output; on
/// cpu, own kernels, activation none or relu (kernels/conv2d/max_pooled.h).
Tensor conv2d_max_pool2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
                         const Pool2dOptions& pooling, Activation activation);
/// Whether that is there for such inputs and as fast as the two ops.
bool conv2d_max_pool2d_pays(const Tensor& x, const Tensor& w, const Conv2dOptions& options, Kernels kernels);
/// As dropout() takes it; p = 0: none.
struct DropoutOptions {
  float p = 0.0f;
  uint32_t layer = 0;
  int64_t first_row = 0;  ///< index of row 0 counted from dropout_state(device).first_sample
};
/// x [N,C], w [K,C], b [K] or undefined → act(x·wᵀ + b) [N,K]; activation: none, relu or leaky_relu. Then dropout(),
/// by own kernels behind a ReLU in the pass that stores y: of bfloat16 the value is then rounded once on cuda.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation = Activation::none,
              Kernels kernels = Kernels::own, const DropoutOptions& then = {});
Tensor activation(const Tensor& x, Activation activation);
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options);
/// x [N,H,W,C] → [N,height,width,C].
Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width);
/// x [N, …]; masks hang on dropout_state(device), the layer's number and the element.
Tensor dropout(const Tensor& x, const DropoutOptions& options);
/// x [.., C]. Training: batch statistics, and running_mean, running_var [C] move; of no rows they stay. Else: the
/// running ones. With `ranks` (of values in the host's memory; they outlive the backward) the batch in training is all
/// ranks' rows together: each of them calls this, and its backward; the gradients of gamma and beta are a rank's own
/// part.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean, Tensor& running_var,
                  bool training, float momentum, float epsilon, Communicator* ranks = nullptr);
Tensor local_response_norm(const Tensor& x, const LocalResponseNormOptions& options);
/// act(a + b), same shapes.
Tensor add(const Tensor& a, const Tensor& b, Activation activation = Activation::none);
Tensor scale(const Tensor& x, float factor);
/// [N, …] → [N, rest], in HWC order.
Tensor flatten(const Tensor& x);
/// The tensors' rows one behind the other: [N₁, …], [N₂, …] → [N₁ + N₂ + …, …]; a single one is itself.
Tensor concatenate(const std::vector<Tensor>& parts);
/// A copy of rows begin to end − 1 of x [N, …]. Not recorded.
Tensor take_rows(const Tensor& x, int64_t begin, int64_t end);
/// logits [N, classes] → probabilities, float32 of either. Not recorded.
Tensor softmax(const Tensor& logits);

struct CrossEntropy {
  Tensor loss;         ///< [1]: mean over the batch
  Tensor sample_loss;  ///< [N]
  Tensor rank;         ///< [N] int32: place of the true class among the sorted logits, 0 = top-1
};
/// logits [N, classes]; labels [N] int32, on the logits' device or the host. Throws ShapeError for a label that does
/// not lie in [0, classes); where both are on cuda nobody looks, and the loss is NaN. `result`, where it is not null,
/// lies in the device's memory and is told the loss and how many samples have rank 0.
CrossEntropy softmax_cross_entropy(const Tensor& logits, const Tensor& labels, float label_smoothing = 0.0f,
                                   StepResult* result = nullptr);

}  // namespace striate::ops
