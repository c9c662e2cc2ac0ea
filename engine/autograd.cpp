#include "engine/autograd.h"

#include <atomic>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "engine/arriving_update.h"
#include "engine/dispatch.h"
#include "engine/storage.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/error.h"

namespace striate {

namespace {

thread_local bool recording = true;
thread_local GradientListener* listener = nullptr;
std::atomic<int64_t> next_id{0};

/// In the memory of a summand that nobody else sees, which spares a pass; else of its own, for either may be shared
/// with another node's pending gradient.
Tensor sum(Tensor a, Tensor b) {
  if (!a.is_only_handle()) std::swap(a, b);
  const Device device = a.device();
  const bool in_place = a.is_only_handle();
  Tensor y = in_place ? a : Tensor::empty(a.shape(), a.dtype(), device);
  in_type_of(y, [&]<typename T>(T) {
    const T *p = std::as_const(a).data<T>(), *q = std::as_const(b).data<T>();
    if (in_place) {
      STRIATE_DISPATCH(device, accumulate, q, y.data<T>(), y.size(), context(device));
    } else {
      STRIATE_DISPATCH(device, add, p, q, y.data<T>(), y.size(), Activation::none, context(device));
    }
  });
  return y;
}

/// What a backward starts from: of every one on cuda the same, with nothing launched.
Tensor seed(const Shape& shape, Device device) {
  if (on_host(device)) return Tensor::full(shape, 1.0f, device);
  // Held here, too, so that no op takes it for its own and writes there.
  static const auto storage = std::make_shared<Storage>(one_on_cuda(), sizeof(float), device);
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = shape;
  impl->storage = storage;
  return Tensor(std::move(impl));
}

/// How many ops of the graph below `root` took each leaf.
std::unordered_map<TensorImpl*, int64_t> uses_of_leaves(Node& root) {
  std::unordered_map<TensorImpl*, int64_t> uses;
  std::unordered_set<Node*> seen{&root};
  std::vector<Node*> ready{&root};
  while (!ready.empty()) {
    const Node* const node = ready.back();
    ready.pop_back();
    for (const Node::Edge& edge : node->inputs) {
      if (edge.leaf) ++uses[edge.leaf.get()];
      if (edge.node && seen.insert(edge.node.get()).second) ready.push_back(edge.node.get());
    }
  }
  return uses;
}

}  // namespace

Node::~Node() {
  // Members alone would free a chain in calls within calls, and overflow the stack. Inputs are handed to the outermost
  // destructor instead, before `backward`, whose captured tensors may hold the same nodes.
  static thread_local std::vector<std::shared_ptr<Node>>* freeing = nullptr;
  if (freeing != nullptr) {
    for (Edge& edge : inputs) {
      if (edge.node) freeing->push_back(std::move(edge.node));
    }
    return;
  }
  std::vector<std::shared_ptr<Node>> ready;
  freeing = &ready;
  for (Edge& edge : inputs) {
    if (edge.node) ready.push_back(std::move(edge.node));
  }
  backward = nullptr;
  while (!ready.empty()) {
    const std::shared_ptr<Node> next = std::move(ready.back());
    ready.pop_back();
  }
  freeing = nullptr;
}

bool grad_enabled() { return recording; }
NoGradGuard::NoGradGuard() : previous_(recording) { recording = false; }
NoGradGuard::~NoGradGuard() { recording = previous_; }

ListenToGradients::ListenToGradients(GradientListener& told) : previous_(listener) { listener = &told; }
ListenToGradients::~ListenToGradients() { listener = previous_; }

bool any_requires_grad(std::initializer_list<Tensor> inputs) {
  if (!recording) return false;
  for (const Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) return true;
  }
  return false;
}

void record(const char* name, Tensor& output, const std::vector<Tensor>& inputs, BackwardFunction backward) {
  auto node = std::make_shared<Node>();
  node->name = name;
  node->id = next_id.fetch_add(1, std::memory_order_relaxed);
  node->backward = std::move(backward);
  node->layer = ProfileScope::layer();
  for (const Tensor& input : inputs) {
    Node::Edge edge;
    if (input.defined()) {
      if (const auto& update = input.impl()->storage->arriving_update) ++update->uses;
      if (input.impl()->grad_fn) {
        edge.node = input.impl()->grad_fn;
        ++edge.node->uses;
      } else if (input.impl()->requires_grad) {
        edge.leaf = input.impl();
      }
    }
    node->inputs.push_back(std::move(edge));
  }
  output.impl()->grad_fn = std::move(node);
}

bool comes_out_of_relu(const Tensor& x) { return dropped_behind_relu(x) == 0.0f; }

std::optional<float> dropped_behind_relu(const Tensor& x) {
  const Node* const node = x.impl()->grad_fn.get();
  return node != nullptr && node->ends_in_relu ? std::optional(node->dropped) : std::nullopt;
}

void ends_in_relu(Tensor& output, float dropped) {
  output.impl()->grad_fn->ends_in_relu = true;
  output.impl()->grad_fn->dropped = dropped;
}

void keep_output(Tensor& output) { output.impl()->grad_fn->output = Saved(output); }

void takes_through_relu(Tensor& output) { ++output.impl()->grad_fn->inputs.front().node->uses_through_relu; }

TensorImpl::~TensorImpl() {
  // The last handle: no op will be recorded on this tensor any more.
  if (grad_fn && grad_fn->uses > 0 && grad_fn->uses == grad_fn->uses_through_relu) grad_fn->output = Saved();
}

bool Gradients::may_take_through_relu(size_t input) const {
  const Node* const node = node_.inputs.at(input).node.get();
  return node != nullptr && (node->dropped == 0.0f || node->uses == node->uses_through_relu);
}

Tensor Gradients::output() const {
  require<Error>(output_.defined(), "{}: its output is gone, and its gradient has not been through the ReLU",
                 node_.name);
  return output_.get();
}

ArrivingUpdate* Gradients::arriving_update(size_t input, const std::shared_ptr<ArrivingUpdate>& recorded) const {
  const Node::Edge& edge = node_.inputs.at(input);
  if (!recorded || edge.leaf.get() != recorded->tensor) return nullptr;
  if (edge.leaf->has_grad || edge.leaf->storage->arriving_update != recorded) return nullptr;
  return recorded->uses == 1 && !recorded->done ? recorded.get() : nullptr;
}

bool Gradients::wants(size_t input) const {
  const Node::Edge& edge = node_.inputs.at(input);
  return edge.node || edge.leaf;
}

void Gradients::add(size_t input, Tensor gradient, ThroughRelu through_relu) {
  Node::Edge& edge = node_.inputs.at(input);
  if (edge.node) {
    Tensor& pending = edge.node->pending;
    const bool before = !pending.defined() || edge.node->pending_through_relu;
    edge.node->pending_through_relu = before && through_relu == ThroughRelu::yes;
    pending = pending.defined() ? sum(std::move(pending), std::move(gradient)) : std::move(gradient);
  } else if (edge.leaf) {
    require<ShapeError>(gradient.shape() == edge.leaf->shape, "{}: gradient {} for a tensor {}", node_.name,
                        to_string(gradient.shape()), to_string(edge.leaf->shape));
    require<Error>(gradient.dtype() == DType::float32,
                   "{}: gradient of {} for a leaf of float32; record to(DType::bfloat16) between", node_.name,
                   to_string(gradient.dtype()));
    const auto [target, accumulate] = this->target(input, gradient.shape(), gradient.device());
    Tensor values = target;
    if (accumulate == Accumulate::yes) {
      STRIATE_DISPATCH(values.device(), accumulate, gradient.data<float>(), values.data<float>(), values.size(),
                       context(values.device()));
    } else {
      values.copy_from(gradient);
    }
  }
}

std::pair<Tensor, Accumulate> Gradients::target(size_t input, const Shape& shape, Device device) {
  Node::Edge& edge = node_.inputs.at(input);
  if (edge.leaf) {
    TensorImpl& leaf = *edge.leaf;
    if (!leaf.grad.defined() || leaf.grad.device() != device) {
      leaf.grad = Tensor::empty(shape, DType::float32, device);
      leaf.has_grad = false;
    }
    const Accumulate mode = leaf.has_grad ? Accumulate::yes : Accumulate::no;
    leaf.has_grad = true;
    return {leaf.grad, mode};
  }
  require<Error>(edge.node != nullptr, "{}: no gradient is wanted for input {}", node_.name, input);
  Tensor& pending = edge.node->pending;
  edge.node->pending_through_relu = false;
  // What is pending may be shared with another node: hand out memory of its own, already holding the sum so far.
  if (pending.defined()) {
    pending = pending.clone();
    return {pending, Accumulate::yes};
  }
  pending = Tensor::empty(shape, DType::float32, device);
  return {pending, Accumulate::no};
}

void Tensor::backward() const {
  require<ShapeError>(size() == 1, "backward: starts from a scalar, found {}", to_string(shape()));
  require<Error>(dtype() == DType::float32, "backward: starts from float32, found {}; convert it with to()",
                 to_string(dtype()));
  require<Error>(impl_->grad_fn != nullptr, "backward: nothing was recorded for this tensor");

  // An op's inputs have smaller ids than the op: in falling order of ids every use of a result comes before its maker.
  const auto later = [](const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) { return a->id < b->id; };
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, decltype(later)> ready(later);
  const ProfileScope profiled(Pass::backward, "backward");
  std::unordered_map<TensorImpl*, int64_t> uses;
  if (listener != nullptr) uses = uses_of_leaves(*impl_->grad_fn);
  impl_->grad_fn->pending = seed(shape(), device());
  ready.push(impl_->grad_fn);
  int64_t last = -1;
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    if (node->id == last) continue;  // queued once for each use
    last = node->id;
    require<Error>(static_cast<bool>(node->backward), "backward: the graph below '{}' was freed by an earlier backward",
                   node->name);
    // Taken out before the call, so that what a node saved and its gradient are freed as the walk goes on.
    const BackwardFunction backward = std::exchange(node->backward, nullptr);
    const Tensor dy = std::exchange(node->pending, Tensor());
    Gradients gradients(*node, std::exchange(node->output, Saved()));
    const ProfileScope profiled_node(Pass::backward, node->layer, node->layer.module ? nullptr : node->name.c_str());
    backward(dy, gradients);
    for (Node::Edge& edge : node->inputs) {
      if (edge.node && edge.node->pending.defined()) ready.push(edge.node);
      if (listener != nullptr && edge.leaf && --uses[edge.leaf.get()] == 0) listener->gradient_complete(*edge.leaf);
    }
    node->inputs.clear();
  }
}

}  // namespace striate
