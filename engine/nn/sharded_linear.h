#pragma once

#include <string>

#include "engine/distributed/exchange.h"
#include "engine/nn/layers.h"

namespace striate::nn {

/// A Linear whose outputs are divided among ranks, model parallel: each has the rows part_of(out, rank, ranks) of
/// weight and bias under the same names, computes those columns for every row of x, and gets the others'
/// (gather_columns). x [N,in] and the result [N,out] are the same on every rank; the gradient of x that a rank's
/// backward gives is a summand. Forward and backward are collective.
class ShardedLinear : public Linear {
 public:
  /// Takes this rank's rows of `whole` over, on its device. `gradient`: what the result's is on a rank, partial where a
  /// ShardedLinear comes next. `name` is for errors: throws ConfigError where there are fewer outputs than ranks.
  ShardedLinear(const std::string& name, const Linear& whole, const Ranks& ranks, ColumnGradient gradient,
                WireType wire = WireType::float32);
  using Linear::forward;
  Tensor forward(const Tensor& x, Activation activation, const ops::DropoutOptions& then) override;
  std::string type() const override { return "ShardedLinear"; }
  std::string description() const override;

 private:
  int64_t out_;
  Range rows_;
  Ranks ranks_;
  ColumnGradient gradient_;
  WireType wire_;
};

}  // namespace striate::nn
