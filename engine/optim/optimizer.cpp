#include "engine/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "engine/arriving_update.h"
#include "engine/dispatch.h"
#include "engine/rounded_copy.h"
#include "engine/step_state.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate {

namespace {
constexpr const char* kStepsName = "steps";

Device common_device(const std::vector<NamedTensor>& parameters) {
  require<ConfigError>(!parameters.empty(), "optimizer: the network has no parameters");
  return parameters.front().tensor.device();
}
}  // namespace

Optimizer::Optimizer(std::vector<NamedTensor> parameters, double learning_rate, double weight_decay)
    : parameters_(std::move(parameters)),
      device_(common_device(parameters_)),
      norm_(Tensor::empty({1}, DType::float32, device_)),
      learning_rate_(static_cast<float>(learning_rate)),
      weight_decay_(static_cast<float>(weight_decay)) {
  std::set<std::string> names;
  for (const NamedTensor& p : parameters_) {
    require<ConfigError>(names.insert(p.name).second, "optimizer: two parameters are named '{}'", p.name);
    require<ConfigError>(p.tensor.device() == device_, "optimizer: '{}' lies on {}, '{}' on {}; move the whole network",
                         p.name, to_string(p.tensor.device()), parameters_.front().name, to_string(device_));
  }
  updates_.reserve(parameters_.size());
}

void Optimizer::add_state(const std::string& slot_name) {
  Slot slot{slot_name, {}};
  for (const NamedTensor& p : parameters_) {
    slot.values.push_back(Tensor::zeros(p.tensor.shape(), DType::float32, device_));
  }
  slots_.push_back(std::move(slot));
}

void Optimizer::clear_grad() {
  for (NamedTensor& p : parameters_) p.tensor.clear_grad();
}

Optimizer::~Optimizer() { withdraw_updates(); }

// All but where the values are: whoever makes the step aims it (rounded_copy.h).
ParameterUpdate<float> Optimizer::parameter_update(size_t i) {
  ParameterUpdate<float> update;
  if (!slots_.empty()) update.s1 = slots_[0].values[i].data<float>();
  if (slots_.size() > 1) update.s2 = slots_[1].values[i].data<float>();
  update.n = parameters_[i].tensor.size();
  update.weight_decay = weight_decay_;
  return update;
}

void Optimizer::update_on_arrival(const std::function<bool(const std::string& name)>& may) {
  for (const auto& update : arriving_) {
    require<Error>(!update || !update->done, "{}: the last backward updated parameters already; call step() first",
                   name());
  }
  withdraw_updates();
  if (device_ != Device::cpu || max_norm_ > 0.0f) return;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (may && !may(parameters_[i].name)) {
      arriving_.push_back(nullptr);
      continue;
    }
    auto update = std::make_shared<ArrivingUpdate>(ArrivingUpdate{rule(now()), parameter_update(i)});
    update->tensor = parameters_[i].tensor.impl().get();
    update->tensor->storage->arriving_update = update;
    arriving_.push_back(std::move(update));
  }
}

void Optimizer::withdraw_updates() {
  for (size_t i = 0; i < arriving_.size(); ++i) {
    auto& left = parameters_[i].tensor.impl()->storage->arriving_update;
    if (left == arriving_[i]) left.reset();
  }
  arriving_.clear();
}

void Optimizer::step() {
  prepare_step();
  update_parameters();
  finish_step();
}

void Optimizer::prepare_step() { state_for_kernels_ = update_state_for_kernels(device_, now()); }

void Optimizer::update_parameters() {
  const ProfileScope profiled(Pass::optimizer, "optimizer");
  updates_.clear();
  bool any_done = false;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor gradient = parameters_[i].tensor.grad();
    const bool done = !arriving_.empty() && arriving_[i] && arriving_[i]->done;
    any_done |= done;
    require<Error>(!done || (arriving_[i]->rule.learning_rate == learning_rate_ &&
                             arriving_[i]->rule.gradient_scale == gradient_scale_ && max_norm_ == 0.0f),
                   "{}: '{}' was updated as its gradient arrived; set rate, scale and max norm before "
                   "update_on_arrival()",
                   name(), parameters_[i].name);
    require<Error>(!done || !gradient.defined(),
                   "{}: '{}' was updated by a first backward and has a gradient of a second; leave update_on_arrival() "
                   "out of steps of several",
                   name(), parameters_[i].name);
    if (done || !gradient.defined()) continue;
    updates_.push_back(parameter_update(i));
    aim_update(updates_.back(), parameters_[i].tensor);
    updates_.back().g = gradient.data<float>();
  }
  withdraw_updates();
  require<Error>(any_done || !updates_.empty(), "{}: no parameter has a gradient; call backward() before step()",
                 name());

  norm_measured_ = max_norm_ > 0.0f;
  const Clipping clipping = norm_measured_ ? Clipping{norm_.data<float>(), max_norm_} : Clipping{};
  update(updates_, state_for_kernels_, clipping, context(device_));
}

void Optimizer::finish_step() {
  ++steps_;
  DropoutState& dropout = dropout_state(device_);
  ++dropout.step;
  dropout.first_sample = 0;
}

float Optimizer::last_norm() const { return norm_measured_ ? norm_.item() : std::numeric_limits<float>::quiet_NaN(); }

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> all;
  for (const Slot& slot : slots_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      all.push_back({slot.name + "." + parameters_[i].name, slot.values[i]});
    }
  }
  all.push_back({kStepsName, Tensor::from<int64_t>({steps_}, {1})});
  return all;
}

void Optimizer::load_state(const std::vector<NamedTensor>& state) {
  std::vector<NamedTensor> own = this->state();
  std::vector<const Tensor*> found;
  std::string problems;
  for (const NamedTensor& wanted : own) {
    const auto it = std::find_if(state.begin(), state.end(), [&](const auto& s) { return s.name == wanted.name; });
    if (it == state.end()) {
      problems += fmt::format("\n  missing: {} {}", wanted.name, to_string(wanted.tensor.shape()));
    } else if (it->tensor.shape() != wanted.tensor.shape() || it->tensor.dtype() != wanted.tensor.dtype()) {
      problems +=
          fmt::format("\n  {}: expected {} {}, found {} {}", wanted.name, to_string(wanted.tensor.dtype()),
                      to_string(wanted.tensor.shape()), to_string(it->tensor.dtype()), to_string(it->tensor.shape()));
    }
    found.push_back(it == state.end() ? nullptr : &it->tensor);
  }
  require<ShapeError>(problems.empty(), "{}: this state is another optimizer's or another network's:{}", name(),
                      problems);
  for (size_t i = 0; i < own.size(); ++i) {
    if (own[i].name == kStepsName) {
      steps_ = found[i]->data<int64_t>()[0];
    } else {
      own[i].tensor.copy_from(*found[i]);
    }
  }
}

Sgd::Sgd(std::vector<NamedTensor> parameters, double learning_rate, const SgdOptions& options, double weight_decay)
    : Optimizer(std::move(parameters), learning_rate, weight_decay), options_(options) {
  if (options_.momentum > 0.0f) add_state("momentum");
}

void Sgd::update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state, const Clipping& clipping,
                 Context& context) {
  STRIATE_DISPATCH(device(), sgd_update, updates.data(), static_cast<int64_t>(updates.size()), options_, state,
                   clipping, context);
}

Adam::Adam(std::vector<NamedTensor> parameters, double learning_rate, const AdamOptions& options, double weight_decay)
    : Optimizer(std::move(parameters), learning_rate, weight_decay), options_(options) {
  add_state("first_moment");
  add_state("second_moment");
}

void Adam::update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state,
                  const Clipping& clipping, Context& context) {
  STRIATE_DISPATCH(device(), adam_update, updates.data(), static_cast<int64_t>(updates.size()), options_, state,
                   clipping, context);
}

Rmsprop::Rmsprop(std::vector<NamedTensor> parameters, double learning_rate, const RmspropOptions& options,
                 double weight_decay)
    : Optimizer(std::move(parameters), learning_rate, weight_decay), options_(options) {
  add_state("square_average");
  if (options_.momentum > 0.0f) add_state("momentum");
}

void Rmsprop::update(const std::vector<ParameterUpdate<float>>& updates, const UpdateState* state,
                     const Clipping& clipping, Context& context) {
  STRIATE_DISPATCH(device(), rmsprop_update, updates.data(), static_cast<int64_t>(updates.size()), options_, state,
                   clipping, context);
}

}  // namespace striate
