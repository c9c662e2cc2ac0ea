#pragma once

#include <functional>
#include <memory>

#include "engine/tensor.h"

/// Memory for time: with recomputation on, what an op keeps for its backward may be made again there by the cheap op
/// that made it, from values that are kept anyway. The kernels are deterministic: the bits are the same.
namespace striate {

/// How a tensor's values are made again.
struct Recipe {
  std::function<Tensor()> make;
  Tensor values;  ///< once made, until the last who saved the tensor has let go
};

/// What an op keeps of a tensor for its backward.
class Saved {
 public:
  Saved() = default;
  /// The values, or their recipe where there is one.
  explicit Saved(const Tensor& t);
  bool defined() const { return values_.defined() || recipe_ != nullptr; }
  /// Computed by the first who asks.
  Tensor get() const;

 private:
  Tensor values_;
  std::shared_ptr<Recipe> recipe_;
};

/// Switches it on or off for its lifetime, in this thread.
class RecomputeGuard {
 public:
  explicit RecomputeGuard(bool recompute);
  ~RecomputeGuard();
  RecomputeGuard(const RecomputeGuard&) = delete;
  RecomputeGuard& operator=(const RecomputeGuard&) = delete;

 private:
  bool previous_;
};

/// Gives `output` a recipe where recomputation is on. `make` computes it, with nothing recorded, from Saved tensors
/// that the graph holds anyway: by the op's own backward, or as is_held() says.
void recomputable(Tensor& output, std::function<Tensor()> make);
/// Whether t's values are there in the backward at no cost: by a recipe, or as the output that its op keeps.
bool is_held(const Tensor& t);

}  // namespace striate
