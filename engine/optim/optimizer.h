#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/optimizer/optimizer.h"

namespace striate {

struct ArrivingUpdate;

/// Moves parameters against their gradients, all of them in one kernel. A parameter whose grad() is undefined at
/// step() is left as it is: no decay, no momentum, its state untouched (PyTorch's rule).
class Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Forgets every gradient; the next backward overwrites them.
  void clear_grad();
  /// Updates the parameters, then moves dropout_state(device) on to the next step's masks. Throws Error where no
  /// parameter has a gradient.
  void step();
  /// step() in three parts, for whoever captures the second to replay it. The first tells the kernels rate, scale and
  /// number of the step, and dropout_state(device), in one copy; the second launches, the third counts.
  void prepare_step();
  void update_parameters();
  void finish_step();
  int64_t steps() const { return steps_; }
  /// Called before a step's only forward: lets the backward move a parameter as soon as its gradient is computed, with
  /// the rate and scale set by now, where the op can (linear layers on cpu, the parameter used once). Such a parameter
  /// has no grad() afterwards; step() updates the others and ends it. The same bits as without. Does nothing where the
  /// step needs whole gradients first (clipping) and on other devices. Not for several backwards a step. `may`, where
  /// it is given, says which parameters: not those whose gradients others add to afterwards.
  void update_on_arrival(const std::function<bool(const std::string& name)>& may = {});
  /// Takes that back where no step() follows: the next backward is no step's, and leaves gradients alone.
  void withdraw_updates();

  void set_learning_rate(double rate) { learning_rate_ = static_cast<float>(rate); }
  double learning_rate() const { return learning_rate_; }
  /// Every gradient counts times this at the coming steps: 1/k after k accumulated backwards.
  void set_gradient_scale(float scale) { gradient_scale_ = scale; }
  /// Gradients whose norm over all parameters, scale included, is above this are shrunk to it; 0: never.
  void set_max_norm(float norm) { max_norm_ = norm; }
  /// The norm of the last step's gradients before clipping; NaN where clipping is off.
  float last_norm() const;
  /// The same [1] in the device's memory, at one place; undefined where clipping is off.
  Tensor norm() const { return max_norm_ > 0.0f ? norm_ : Tensor(); }

  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  Device device() const { return device_; }
  virtual std::string name() const = 0;

  /// What a checkpoint needs: "momentum.features.0.weight", … sharing memory with the optimizer, and "steps" [1] int64.
  std::vector<NamedTensor> state() const;
  /// Takes the values of another state(). Throws ShapeError listing what is missing or has another shape, before
  /// anything is changed.
  void load_state(const std::vector<NamedTensor>& state);

 protected:
  /// Parameters of one device, at least one, with distinct names; throws ConfigError otherwise.
  Optimizer(std::vector<NamedTensor> parameters, double learning_rate, double weight_decay);
  /// Gives every parameter a zeroed state tensor; the first slot becomes s1, the second s2 of ParameterUpdate.
  void add_state(const std::string& slot_name);
  /// The step as update() does it, for the cpu's products.
  virtual UpdateRule rule(const UpdateState& state) const = 0;
  /// `state` lies in the device's memory.
  virtual void update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state,
                      const Clipping& clipping, Context& context) = 0;

 private:
  struct Slot {
    std::string name;
    std::vector<Tensor> values;
  };
  UpdateState now() const { return {learning_rate_, gradient_scale_, steps_}; }
  ParameterUpdate<float> parameter_update(size_t i);

  std::vector<NamedTensor> parameters_;
  Device device_;
  std::vector<Slot> slots_;
  std::vector<ParameterUpdate<float>> updates_;
  std::vector<std::shared_ptr<ArrivingUpdate>> arriving_;  // of every parameter, from update_on_arrival() to step()
  const UpdateState* state_for_kernels_ = nullptr;         // of prepare_step()
  Tensor norm_;                                            // [1], of the last step's gradients
  bool norm_measured_ = false;
  float learning_rate_, weight_decay_;
  float gradient_scale_ = 1.0f, max_norm_ = 0.0f;
  int64_t steps_ = 0;
};

/// Stochastic gradient descent; the formulas stand in kernels/optimizer/optimizer.h.
class Sgd : public Optimizer {
 public:
  Sgd(std::vector<NamedTensor> parameters, double learning_rate, const SgdOptions& options = {},
      double weight_decay = 0.0);
  std::string name() const override { return "sgd"; }

 private:
  UpdateRule rule(const UpdateState& state) const override { return {options_, state}; }
  void update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state, const Clipping& clipping,
              Context& context) override;
  SgdOptions options_;
};

/// Adam, and AdamW where options.decoupled. Bias correction counts the optimizer's steps.
class Adam : public Optimizer {
 public:
  Adam(std::vector<NamedTensor> parameters, double learning_rate, const AdamOptions& options = {},
       double weight_decay = 0.0);
  std::string name() const override { return options_.decoupled ? "adamw" : "adam"; }

 private:
  UpdateRule rule(const UpdateState& state) const override { return {options_, state}; }
  void update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state, const Clipping& clipping,
              Context& context) override;
  AdamOptions options_;
};

class Rmsprop : public Optimizer {
 public:
  Rmsprop(std::vector<NamedTensor> parameters, double learning_rate, const RmspropOptions& options = {},
          double weight_decay = 0.0);
  std::string name() const override { return "rmsprop"; }

 private:
  UpdateRule rule(const UpdateState& state) const override { return {options_, state}; }
  void update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state, const Clipping& clipping,
              Context& context) override;
  RmspropOptions options_;
};

}  // namespace striate
