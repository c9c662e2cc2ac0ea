#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/distributed/part_of.h"
#include "engine/tensor.h"

namespace striate::nn {

class Module;
using ModulePtr = std::shared_ptr<Module>;

struct NamedModule {
  std::string name;  ///< "" for the root, then "features", "features.0", …
  Module* module = nullptr;
};

/// A parameter of which this process has only some rows: the other ranks have the others.
struct NamedShard {
  std::string name;
  int64_t rows = 0;  ///< of the whole parameter
  Range held;        ///< those that the tensor of that name is
};

/// Sees every module's output as it is made: `inspect`, figures of inner layers. While one is installed in a thread,
/// nothing is fused there, so that a convolution's output is the one before its ReLU.
class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  virtual void observe(Module& module, const Tensor& input, const Tensor& output) = 0;
  static ForwardObserver* current();  ///< of this thread, or null
};

/// Installs an observer for its lifetime, in this thread.
class ObserverGuard {
 public:
  explicit ObserverGuard(ForwardObserver& observer);
  ~ObserverGuard();
  ObserverGuard(const ObserverGuard&) = delete;
  ObserverGuard& operator=(const ObserverGuard&) = delete;

 private:
  ForwardObserver* previous_;
};

/// A layer, or layers: parameters, buffers and children with names, and a forward.
class Module {
 public:
  Module() = default;
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// forward(), seen by the observer.
  Tensor operator()(const Tensor& x);
  virtual Tensor forward(const Tensor& x) = 0;
  virtual std::string type() const = 0;  ///< "Conv2d"
  virtual std::string description() const {
    return type() + "()";
  }  ///< "Conv2d(3, 64, kernel 11x11, stride 4, padding 2)"
  /// Multiply–accumulates of a forward from `input` to `output` for this module alone, children not counted.
  virtual int64_t macs(const Shape& input, const Shape& output) const;

  /// Training mode of this module and everything below (dropout, batch norm). New modules are in training mode.
  void train(bool training = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  /// Depth first, in order of registration.
  std::vector<NamedTensor> named_parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  /// Those of named_parameters() that are no whole ones.
  std::vector<NamedShard> named_shards() const;
  std::vector<NamedModule> named_modules();
  std::vector<std::pair<std::string, ModulePtr>>& children() { return children_; }
  std::vector<NamedTensor>& own_parameters() { return parameters_; }
  int64_t parameter_count() const;
  /// The module of that dotted name. Throws ConfigError that lists the names there are.
  Module& find(const std::string& name);

  /// Moves parameters and buffers; call it before an optimizer takes them.
  void to(Device device);

 protected:
  /// A parameter of zeros that wants a gradient. The handle stays valid for the module's life.
  Tensor register_parameter(const std::string& name, Shape shape);
  /// Says that the parameter of that name is part of one that has `rows` rows.
  void register_shard(const std::string& name, int64_t rows, Range held);
  Tensor register_buffer(const std::string& name, Tensor value);
  template <typename M>
  std::shared_ptr<M> register_module(const std::string& name, std::shared_ptr<M> module) {
    add_child(name, module);
    return module;
  }

 private:
  void add_child(const std::string& name, ModulePtr module);
  template <typename Named>
  void collect(const std::string& prefix, std::vector<Named> Module::*own, std::vector<Named>& out) const;

  bool training_ = true;
  Module* parent_ = nullptr;  // the last module this became a child of, while that lives
  std::vector<NamedTensor> parameters_, buffers_;
  std::vector<NamedShard> shards_;
  std::vector<std::pair<std::string, ModulePtr>> children_;
};

/// Modules one after another, named "0", "1", … or as given. A Conv2d, Linear or residual sum followed by a ReLU or
/// LeakyReLU runs as one kernel; so do a Linear, a ReLU and dropout, and a Conv2d with a ReLU and a MaxPool2d behind
/// it, where that pays.
class Sequential : public Module {
 public:
  Sequential() = default;
  explicit Sequential(std::vector<ModulePtr> modules);
  Sequential& add(ModulePtr module);
  Sequential& add(const std::string& name, ModulePtr module);
  Tensor forward(const Tensor& x) override;
  std::string type() const override { return "Sequential"; }
};

}  // namespace striate::nn
