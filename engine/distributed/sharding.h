#pragma once

#include <vector>

#include "engine/distributed/options.h"
#include "engine/nn/module.h"
#include "engine/tensor.h"

/// Networks of which each rank has some rows of some parameters, and the files of them, which are a single process's.
namespace striate {

/// Which tensors of an optimizer's state() have rows of one of `shards` alone: their names, behind the state's own and
/// a dot, are the parameters'.
std::vector<nn::NamedShard> shards_of_state(const std::vector<NamedTensor>& state,
                                            const std::vector<nn::NamedShard>& shards);

/// The tensors with the shards put together, in the host's memory, on the first rank; on the others nothing.
/// Collective. Throws Error where there are shards and `ranks` are not those that they were made for.
std::vector<NamedTensor> whole_tensors(const std::vector<NamedTensor>& tensors,
                                       const std::vector<nn::NamedShard>& shards, const Ranks& ranks);

/// The shape of the whole tensor.
Shape whole_shape(const NamedTensor& held, const std::vector<nn::NamedShard>& shards);

/// The rows that this process holds of the tensor of that name; itself where it is no shard.
Tensor held_rows(const NamedTensor& whole, const std::vector<nn::NamedShard>& shards);

/// `parameters` without the shards: those that every rank has, and whose gradients are summed over the ranks.
std::vector<NamedTensor> without_shards(std::vector<NamedTensor> parameters, const std::vector<nn::NamedShard>& shards);

/// The norm of all gradients: of the shards every rank's, of the rest, which are the same on all, this one's. Computed
/// on the host. Collective; the same bits on every rank.
double norm_of_gradients(const std::vector<NamedTensor>& parameters, const std::vector<nn::NamedShard>& shards,
                         const Ranks& ranks);

}  // namespace striate
