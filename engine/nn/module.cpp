#include "engine/nn/module.h"

#include <algorithm>

#include "engine/nn/layers.h"
#include "engine/profiler.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate::nn {

namespace {
thread_local ForwardObserver* installed_observer = nullptr;

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

void collect_modules(Module& module, const std::string& name, std::vector<NamedModule>& out) {
  out.push_back({name, &module});
  for (auto& [child_name, child] : module.children()) collect_modules(*child, join(name, child_name), out);
}
}  // namespace

ForwardObserver* ForwardObserver::current() { return installed_observer; }
ObserverGuard::ObserverGuard(ForwardObserver& observer) : previous_(installed_observer) {
  installed_observer = &observer;
}
ObserverGuard::~ObserverGuard() { installed_observer = previous_; }

Module::~Module() {
  for (auto& [name, child] : children_) {
    if (child->parent_ == this) child->parent_ = nullptr;
  }
}

Tensor Module::operator()(const Tensor& x) {
  const ProfileScope profiled(Pass::forward, {this});
  Tensor y = forward(x);
  if (installed_observer) installed_observer->observe(*this, x, y);
  return y;
}

int64_t Module::macs(const Shape&, const Shape&) const { return 0; }

void Module::train(bool training) {
  training_ = training;
  for (auto& [name, child] : children_) child->train(training);
}

template <typename Named>
void Module::collect(const std::string& prefix, std::vector<Named> Module::*own, std::vector<Named>& out) const {
  for (const Named& named : this->*own) {
    out.push_back(named);
    out.back().name = join(prefix, named.name);
  }
  for (const auto& [name, child] : children_) child->collect(join(prefix, name), own, out);
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> all;
  collect("", &Module::parameters_, all);
  return all;
}

std::vector<NamedTensor> Module::named_buffers() const {
  std::vector<NamedTensor> all;
  collect("", &Module::buffers_, all);
  return all;
}

std::vector<NamedShard> Module::named_shards() const {
  std::vector<NamedShard> all;
  collect("", &Module::shards_, all);
  return all;
}

std::vector<NamedModule> Module::named_modules() {
  std::vector<NamedModule> all;
  collect_modules(*this, "", all);
  return all;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const NamedTensor& p : named_parameters()) count += p.tensor.size();
  return count;
}

Module& Module::find(const std::string& name) {
  std::vector<std::string> names;
  for (const NamedModule& m : named_modules()) {
    if (m.name == name) return *m.module;
    if (!m.name.empty()) names.push_back(m.name);
  }
  throw ConfigError(fmt::format("no layer '{}' in this network; its layers: {}", name, fmt::join(names, ", ")));
}

void Module::to(Device device) {
  for (const auto& list : {named_parameters(), named_buffers()}) {
    for (const NamedTensor& t : list) {
      // The storage is swapped below the handles, so that members and optimizers keep seeing the same tensor.
      TensorImpl& impl = *t.tensor.impl();
      impl.storage = t.tensor.detach().to(device).impl()->storage;
      impl.grad = Tensor();
      impl.has_grad = false;
    }
  }
}

Tensor Module::register_parameter(const std::string& name, Shape shape) {
  Tensor parameter = Tensor::zeros(std::move(shape));
  parameter.set_requires_grad(true);
  parameters_.push_back({name, parameter});
  return parameter;
}

void Module::register_shard(const std::string& name, int64_t rows, Range held) {
  shards_.push_back({name, rows, held});
}

Tensor Module::register_buffer(const std::string& name, Tensor value) {
  buffers_.push_back({name, value});
  return value;
}

void Module::add_child(const std::string& name, ModulePtr module) {
  require<Error>(module != nullptr, "{}: child '{}' is null", type(), name);
  const bool taken = std::any_of(children_.begin(), children_.end(), [&](const auto& c) { return c.first == name; });
  require<Error>(!taken, "{}: has a child '{}' already", type(), name);
  module->parent_ = this;
  children_.emplace_back(name, std::move(module));
  // From the top, so that dropout layers are numbered through the whole network in whatever order it is put together.
  Module* top = this;
  while (top->parent_ != nullptr) top = top->parent_;
  uint32_t layer = 0;
  for (const NamedModule& m : top->named_modules()) {
    if (auto* dropout = dynamic_cast<Dropout*>(m.module)) dropout->set_layer(layer++);
  }
}

Sequential::Sequential(std::vector<ModulePtr> modules) {
  for (ModulePtr& module : modules) add(std::move(module));
}

Sequential& Sequential::add(ModulePtr module) { return add(std::to_string(children().size()), std::move(module)); }

Sequential& Sequential::add(const std::string& name, ModulePtr module) {
  register_module(name, std::move(module));
  return *this;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  const auto& layers = children();
  for (size_t i = 0; i < layers.size(); ++i) {
    Module& layer = *layers[i].second;
    if (!ForwardObserver::current() && i + 1 < layers.size()) {
      auto* fuses = dynamic_cast<FusesActivation*>(&layer);
      const auto* next = dynamic_cast<const ActivationLayer*>(layers[i + 1].second.get());
      if (fuses && next && derivative_from_output(next->activation())) {
        const ProfileScope profiled(Pass::forward, {&layer});
        auto* conv = dynamic_cast<Conv2d*>(&layer);
        const auto* pool = i + 2 < layers.size() ? dynamic_cast<const MaxPool2d*>(layers[i + 2].second.get()) : nullptr;
        if (conv && pool && next->activation() == Activation::relu && conv->takes_pool(y)) {
          y = conv->forward_pooled(y, pool->options());
          i += 2;
          continue;
        }
        ++i;
        auto* linear = dynamic_cast<Linear*>(&layer);
        const auto* dropout = i + 1 < layers.size() ? dynamic_cast<Dropout*>(layers[i + 1].second.get()) : nullptr;
        if (linear && dropout && next->activation() == Activation::relu) {
          y = linear->forward(y, Activation::relu, dropout->options());
          ++i;
        } else {
          y = fuses->forward(y, next->activation());
        }
        continue;
      }
    }
    y = layer(y);
  }
  return y;
}

}  // namespace striate::nn
