// Batch norm over ranks, of the kernels that a rank alone has: its own statistics are merged with the others' (Chan,
// Golub & LeVeque 1983) in order of the ranks, and normalizing by them is the pass of evaluation. The backward is Ioffe
// & Szegedy 2015, §3, in two parts,
//   dx = γ·σ·dy − γ·σ/M·(Σ dy + x̂·Σ dy·x̂),   M rows, x̂ = (x − mean)·σ, σ = 1/√(variance + ε),
// the first with statistics that are constants, the second normalizing by other coefficients. What is exchanged is a
// few numbers a channel, and passes through the host.
#include "engine/ops/synchronised_batch_norm.h"

#include <cmath>
#include <vector>

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/distributed/communicator.h"
#include "engine/saved.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/error.h"

namespace striate::ops {

namespace {

/// Of the rows of a rank, or of several: per channel the mean and the sum of squared deviations from it.
struct Statistics {
  double rows = 0.0;
  std::vector<double> mean, squares;

  explicit Statistics(size_t C) : mean(C, 0.0), squares(C, 0.0) {}
  void merge(double other_rows, const double* other_mean, const double* other_squares) {
    if (other_rows == 0.0) return;
    const double all = rows + other_rows;
    for (size_t c = 0; c < mean.size(); ++c) {
      const double distance = other_mean[c] - mean[c];
      squares[c] += other_squares[c] + distance * distance * (rows * other_rows / all);
      mean[c] += distance * (other_rows / all);
    }
    rows = all;
  }
};

/// Everybody's, in order of the ranks.
std::vector<double> gathered(const std::vector<double>& mine, Communicator& ranks) {
  const auto size = static_cast<size_t>(ranks.size());
  std::vector<double> all(size * mine.size());
  const std::vector<int64_t> bytes(size, static_cast<int64_t>(mine.size() * sizeof(double)));
  ranks.all_gather(mine.data(), all.data(), bytes).wait();
  return all;
}

Tensor on_device(const std::vector<double>& values, Device device) {
  return Tensor::from(std::vector<float>(values.begin(), values.end()), {static_cast<int64_t>(values.size())}, device);
}

/// {rows, the means, the squares} of this rank's rows. y is overwritten.
std::vector<double> own_statistics(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& y,
                                   BatchNormShape shape) {
  const auto C = static_cast<size_t>(shape.C);
  std::vector<double> result(1 + 2 * C, 0.0);
  result[0] = static_cast<double>(shape.rows);
  if (shape.rows == 1) {
    const std::vector<float> values = x.detach().to(DType::float32).to_vector<float>();
    std::copy(values.begin(), values.end(), result.begin() + 1);
  }
  if (shape.rows < 2) return result;
  shape.momentum = 1.0f;  // the running statistics become the batch's
  const Device device = x.device();
  Tensor mean = Tensor::zeros({shape.C}, DType::float32, device), variance = mean.clone();
  Tensor mean_again = mean.clone(), inv_std = mean.clone();
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, batch_norm_forward_train, x.data<T>(), gamma.data<float>(), beta.data<float>(),
                     y.data<T>(), mean_again.data<float>(), inv_std.data<float>(), mean.data<float>(),
                     variance.data<float>(), shape, context(device));
  });
  const std::vector<float> means = mean.to_vector<float>(), variances = variance.to_vector<float>();
  for (size_t c = 0; c < C; ++c) {
    result[1 + c] = means[c];
    result[1 + C + c] = double{variances[c]} * (result[0] - 1.0);  // it is the unbiased one
  }
  return result;
}

Statistics statistics_of_all(const std::vector<double>& own, size_t C, Communicator& ranks) {
  const std::vector<double> all = gathered(own, ranks);
  Statistics statistics(C);
  for (size_t at = 0; at < all.size(); at += own.size()) {
    statistics.merge(all[at], all.data() + at + 1, all.data() + at + 1 + C);
  }
  return statistics;
}

void move_running(Tensor& running, const std::vector<double>& batch, double momentum) {
  std::vector<float> values = running.to_vector<float>();
  for (size_t c = 0; c < values.size(); ++c) {
    values[c] = static_cast<float>((1.0 - momentum) * values[c] + momentum * batch[c]);
  }
  running.copy_from(Tensor::from(values, running.shape()));
}

/// y = gamma·(x − mean)/√(variance + ε) + beta.
void normalize(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& variance,
               Tensor& y, float* inv_std, const BatchNormShape& shape) {
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(x.device(), batch_norm_forward_eval, x.data<T>(), gamma.data<float>(), beta.data<float>(),
                     mean.data<float>(), variance.data<float>(), y.data<T>(), inv_std, shape, context(x.device()));
  });
}

/// What a forward leaves for its backward.
struct Normalized {
  Saved x;
  Tensor gamma, mean, variance, inv_std;
  BatchNormShape shape;
  double rows_of_all;
};

void backward(const Normalized& forward, const Tensor& dy, Gradients& gradients, Communicator& ranks) {
  const Tensor x = forward.x.get();
  const BatchNormShape& shape = forward.shape;
  const Device device = x.device();
  Tensor dx;
  if (gradients.wants(0)) dx = Tensor::empty(x.shape(), x.dtype(), device);
  // This rank's sums: those of all ranks are added where other parameters' gradients are.
  Tensor dgamma = Tensor::empty({shape.C}, DType::float32, device);
  Tensor dbeta = Tensor::empty({shape.C}, DType::float32, device);
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, batch_norm_backward, x.data<T>(), dy.data<T>(), forward.gamma.data<float>(),
                     forward.mean.data<float>(), forward.inv_std.data<float>(), dx.defined() ? dx.data<T>() : nullptr,
                     dgamma.data<float>(), dbeta.data<float>(), shape, false, Accumulate::no, context(device));
  });
  if (dx.defined()) {
    const auto C = static_cast<size_t>(shape.C);
    std::vector<double> own;
    for (const Tensor& sum : {dgamma, dbeta}) {
      const std::vector<float> values = sum.to_vector<float>();
      own.insert(own.end(), values.begin(), values.end());
    }
    const std::vector<double> all = gathered(own, ranks);
    const std::vector<float> gamma = forward.gamma.to_vector<float>(), inv_std = forward.inv_std.to_vector<float>();
    std::vector<double> through_x(C, 0.0), constant(C, 0.0);
    for (size_t at = 0; at < all.size(); at += 2 * C) {
      for (size_t c = 0; c < C; ++c) {
        const double each = -double{gamma[c]} * inv_std[c] / forward.rows_of_all;
        through_x[c] += each * all[at + c];
        constant[c] += each * all[at + C + c];
      }
    }
    Tensor rest = Tensor::empty(x.shape(), x.dtype(), device);
    normalize(x, on_device(through_x, device), on_device(constant, device), forward.mean, forward.variance, rest,
              nullptr, shape);
    in_type_of(x, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, accumulate, std::as_const(rest).data<T>(), dx.data<T>(), dx.size(), context(device));
    });
    gradients.add(0, std::move(dx));
  }
  if (gradients.wants(1)) gradients.add(1, std::move(dgamma));
  if (gradients.wants(2)) gradients.add(2, std::move(dbeta));
}

}  // namespace

Tensor synchronised_batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean,
                               Tensor& running_var, const BatchNormShape& shape, Communicator& ranks) {
  const Device device = x.device();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  const std::vector<double> own = own_statistics(x, gamma, beta, y, shape);
  Statistics all = statistics_of_all(own, static_cast<size_t>(shape.C), ranks);
  require<ShapeError>(all.rows >= 2.0,
                      "batch_norm: training needs two values a channel or more, and all {} ranks together have {}; use "
                      "a larger batch",
                      ranks.size(), all.rows);
  std::vector<double> variance = all.squares, unbiased = all.squares;
  for (double& squares : variance) squares /= all.rows;
  for (double& squares : unbiased) squares /= all.rows - 1.0;
  move_running(running_mean, all.mean, shape.momentum);
  move_running(running_var, unbiased, shape.momentum);

  Normalized kept{Saved(x),
                  gamma.detach(),
                  on_device(all.mean, device),
                  on_device(variance, device),
                  Tensor::empty({shape.C}, DType::float32, device),
                  shape,
                  all.rows};
  normalize(x, gamma, beta, kept.mean, kept.variance, y, kept.inv_std.data<float>(), shape);
  if (!any_requires_grad({x, gamma, beta})) return y;
  record("batch_norm", y, {x, gamma, beta},
         [kept, &ranks](const Tensor& dy, Gradients& gradients) { backward(kept, dy, gradients, ranks); });
  recomputable(y, [kept, beta = beta.detach()] {
    const Tensor from = kept.x.get();
    Tensor to = Tensor::empty(from.shape(), from.dtype(), from.device());
    normalize(from, kept.gamma, beta, kept.mean, kept.variance, to, nullptr, kept.shape);
    return to;
  });
  return y;
}

}  // namespace striate::ops
