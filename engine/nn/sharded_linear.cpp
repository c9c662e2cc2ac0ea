#include "engine/nn/sharded_linear.h"

#include "kernels/error.h"

namespace striate::nn {

namespace {
Range rows_of(const std::string& name, const Linear& whole, const Ranks& ranks) {
  const int64_t out = whole.weight.dim(0);
  require<ConfigError>(out >= ranks.size(),
                       "{}: {} outputs cannot be divided among {} ranks; start no more than {}, or choose "
                       "distributed.scheme: data",
                       name, out, ranks.size(), out);
  return part_of(out, ranks.rank(), ranks.size());
}
}  // namespace

ShardedLinear::ShardedLinear(const std::string& name, const Linear& whole, const Ranks& ranks, ColumnGradient gradient,
                             WireType wire)
    : Linear(whole.weight.dim(1), rows_of(name, whole, ranks).size(), whole.bias.defined()),
      out_(whole.weight.dim(0)),
      rows_(rows_of(name, whole, ranks)),
      ranks_(ranks),
      gradient_(gradient),
      wire_(wire) {
  use(whole.kernels());
  to(whole.weight.device());
  for (auto [mine, of_whole] : {std::pair(&weight, &whole.weight), std::pair(&bias, &whole.bias)}) {
    if (mine->defined()) mine->copy_from(ops::take_rows(*of_whole, rows_.begin, rows_.end));
  }
  register_shard("weight", out_, rows_);
  if (bias.defined()) register_shard("bias", out_, rows_);
  train(whole.training());
}

Tensor ShardedLinear::forward(const Tensor& x, Activation activation, const ops::DropoutOptions& then) {
  const Tensor columns = Linear::forward(x, activation, {});
  const Tensor y = gather_columns(columns, out_, ranks_, gradient_, wire_);
  return ops::dropout(y, then);
}

std::string ShardedLinear::description() const {
  return fmt::format("ShardedLinear({}, {}{}, outputs {} to {})", weight.dim(1), out_,
                     bias.defined() ? "" : ", no bias", rows_.begin, rows_.end - 1);
}

}  // namespace striate::nn
