#include "engine/saved.h"

#include <utility>

#include "engine/autograd.h"
#include "engine/storage.h"

namespace striate {

namespace {
thread_local bool recomputing = false;
}  // namespace

Saved::Saved(const Tensor& t) {
  if (!t.defined()) return;
  recipe_ = t.impl()->recipe;
  if (!recipe_) values_ = t.detach();
}

Tensor Saved::get() const {
  if (!recipe_) return values_;
  if (!recipe_->values.defined()) {
    const NoGradGuard no_grad;
    recipe_->values = recipe_->make();
    recipe_->make = nullptr;  // and what it was made from
  }
  return recipe_->values;
}

RecomputeGuard::RecomputeGuard(bool recompute) : previous_(std::exchange(recomputing, recompute)) {}
RecomputeGuard::~RecomputeGuard() { recomputing = previous_; }

void recomputable(Tensor& output, std::function<Tensor()> make) {
  if (recomputing) output.impl()->recipe = std::make_shared<Recipe>(Recipe{std::move(make), {}});
}

bool is_held(const Tensor& t) {
  const TensorImpl& impl = *t.impl();
  return impl.recipe != nullptr || (impl.grad_fn != nullptr && impl.grad_fn->output.defined());
}

}  // namespace striate
