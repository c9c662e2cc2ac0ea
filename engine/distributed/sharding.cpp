#include "engine/distributed/sharding.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/ops/ops.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate {

using nn::NamedShard;

namespace {

const NamedShard* find(const std::vector<NamedShard>& shards, const std::string& name) {
  const auto found = std::find_if(shards.begin(), shards.end(), [&](const NamedShard& s) { return s.name == name; });
  return found == shards.end() ? nullptr : &*found;
}

/// The rows of all ranks. On others than the first the values are let go at once.
Tensor gather_rows(const NamedTensor& held, const NamedShard& shard, const Ranks& ranks) {
  const Tensor mine = held.tensor.detach().to(Device::cpu);
  Shape shape = mine.shape();
  shape[0] = shard.rows;
  const Tensor whole = Tensor::empty(std::move(shape), mine.dtype());
  const int64_t row = static_cast<int64_t>(whole.bytes()) / shard.rows;
  std::vector<int64_t> bytes = part_sizes(shard.rows, ranks.size());
  for (int64_t& size : bytes) size *= row;
  const Storage& from = *mine.impl()->storage;
  ranks.host->all_gather(from.data(), whole.impl()->storage->data(), bytes).wait();
  return whole;
}

}  // namespace

std::vector<NamedShard> shards_of_state(const std::vector<NamedTensor>& state, const std::vector<NamedShard>& shards) {
  std::vector<NamedShard> of_state;
  for (const NamedTensor& t : state) {
    const size_t dot = t.name.find('.');
    const NamedShard* const shard = dot == std::string::npos ? nullptr : find(shards, t.name.substr(dot + 1));
    if (shard != nullptr) of_state.push_back({t.name, shard->rows, shard->held});
  }
  return of_state;
}

std::vector<NamedTensor> whole_tensors(const std::vector<NamedTensor>& tensors, const std::vector<NamedShard>& shards,
                                       const Ranks& ranks) {
  std::vector<NamedTensor> whole;
  for (const NamedTensor& t : tensors) {
    const NamedShard* const shard = find(shards, t.name);
    Tensor values = t.tensor;
    if (shard != nullptr && shard->held.size() < shard->rows) {
      require<Error>(shard->held == part_of(shard->rows, ranks.rank(), ranks.size()),
                     "{}: rows {} to {} of {} are not what rank {} of {} has; the ranks that the network was divided "
                     "among must put it together",
                     t.name, shard->held.begin, shard->held.end, shard->rows, ranks.rank(), ranks.size());
      values = gather_rows(t, *shard, ranks);
    }
    if (ranks.rank() == 0) whole.push_back({t.name, std::move(values)});
  }
  return whole;
}

Shape whole_shape(const NamedTensor& held, const std::vector<NamedShard>& shards) {
  Shape shape = held.tensor.shape();
  if (const NamedShard* const shard = find(shards, held.name)) shape[0] = shard->rows;
  return shape;
}

Tensor held_rows(const NamedTensor& whole, const std::vector<NamedShard>& shards) {
  const NamedShard* const shard = find(shards, whole.name);
  return shard == nullptr ? whole.tensor : ops::take_rows(whole.tensor, shard->held.begin, shard->held.end);
}

std::vector<NamedTensor> without_shards(std::vector<NamedTensor> parameters, const std::vector<NamedShard>& shards) {
  std::erase_if(parameters, [&](const NamedTensor& p) { return find(shards, p.name) != nullptr; });
  return parameters;
}

double norm_of_gradients(const std::vector<NamedTensor>& parameters, const std::vector<NamedShard>& shards,
                         const Ranks& ranks) {
  double of_shards = 0.0, squares = 0.0;
  for (const NamedTensor& p : parameters) {
    if (!p.tensor.grad().defined()) continue;
    const Tensor gradient = p.tensor.grad().to(Device::cpu);
    const float* const values = gradient.data<float>();
    double sum = 0.0;
    for (int64_t i = 0; i < gradient.size(); ++i)
      sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    (find(shards, p.name) != nullptr ? of_shards : squares) += sum;
  }
  for (const double of_rank : ranks.host->gathered(of_shards)) squares += of_rank;
  return std::sqrt(squares);
}

}  // namespace striate
