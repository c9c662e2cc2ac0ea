#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/profiler.h"
#include "engine/saved.h"
#include "engine/tensor.h"
#include "kernels/context.h"

namespace striate {

struct ArrivingUpdate;
class Gradients;
/// Computes the gradients of a node's inputs from that of its output. Captures only what it needs, never the output's
/// own handle (detach() it): that would be a cycle.
using BackwardFunction = std::function<void(const Tensor& dy, Gradients& gradients)>;

/// One recorded op. Inputs are edges to the ops (or leaves) that made them, not to their values.
class Node {
 public:
  struct Edge {
    std::shared_ptr<Node> node;        ///< the op that made the input, or
    std::shared_ptr<TensorImpl> leaf;  ///< the leaf it is; both null: no gradient wanted
  };

  Node() = default;
  ~Node();  ///< frees what it alone holds up to the leaves, however long the chain
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::string name;
  int64_t id = 0;  ///< in order of recording: an op's inputs have smaller ids
  std::vector<Edge> inputs;
  BackwardFunction backward;
  ProfileLayer layer;  ///< that recorded it
  Tensor pending;      ///< gradient of the output collected so far, while backward() walks
  Saved output;        ///< the output's values, where `backward` makes the derivative of a fused activation of them
  /// The op ends in a ReLU, whose backward the ops that use the output may take over: it is idempotent, so it does not
  /// matter which of them do. Behind it there may be dropout of probability `dropped`, whose scale is not: all or none.
  bool ends_in_relu = false;
  float dropped = 0.0f;
  bool pending_through_relu = false;  ///< all that is pending has been through that ReLU's backward
  int64_t uses = 0;                   ///< recorded ops that took the output
  int64_t uses_through_relu = 0;      ///< those of them that take its gradient through that ReLU
};

/// Whether a gradient has been through the backward of the ReLU (and the dropout) that its tensor came out of.
enum class ThroughRelu { no, yes };

/// Where a node's backward delivers the gradients of its inputs.
class Gradients {
 public:
  /// `output`: what keep_output() kept.
  explicit Gradients(Node& node, Saved output = {}) : node_(node), output_(std::move(output)) {}
  bool wants(size_t input) const;
  /// Delivers the finished gradient of an input; it is added to what other uses of the input delivered.
  void add(size_t input, Tensor gradient, ThroughRelu through_relu = ThroughRelu::no);
  /// Whether the users of this op's output have already taken its gradient through the ReLU it ends in.
  bool through_relu() const { return node_.pending_through_relu; }
  /// Whether a backward that can deliver an input's gradient through the ReLU it came out of may do so.
  bool may_take_through_relu(size_t input) const;
  /// The op's output, where keep_output() kept it. Throws Error where it was let go, as all uses take the gradient
  /// through the ReLU.
  Tensor output() const;
  /// Memory for a gradient of that shape and whether the kernel overwrites it or adds to it. For kernels that can
  /// accumulate (parameters); others use add().
  std::pair<Tensor, Accumulate> target(size_t input, const Shape& shape, Device device);
  /// The update that takes the place of the gradient of a parameter, `recorded` having lain on its storage when the op
  /// was recorded; null where the gradient itself is needed: another op used the values too, a gradient is there
  /// already, or the step is over.
  ArrivingUpdate* arriving_update(size_t input, const std::shared_ptr<ArrivingUpdate>& recorded) const;

 private:
  Node& node_;
  Saved output_;
};

/// False inside a NoGradGuard: nothing is recorded.
bool grad_enabled();

/// Switches recording off for its lifetime, in this thread.
class NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool previous_;
};

/// Is told, in the thread that installed it, by a backward of every leaf whose gradient is complete: none of the ops
/// still to come adds to it. Leaves whose gradient no op computes are not told of.
class GradientListener {
 public:
  virtual ~GradientListener() = default;
  virtual void gradient_complete(TensorImpl& leaf) = 0;
};

/// Installs a listener for its lifetime, in this thread.
class ListenToGradients {
 public:
  explicit ListenToGradients(GradientListener& listener);
  ~ListenToGradients();
  ListenToGradients(const ListenToGradients&) = delete;
  ListenToGradients& operator=(const ListenToGradients&) = delete;

 private:
  GradientListener* previous_;
};

/// True where recording is on and one of the inputs needs a gradient; undefined tensors don't.
bool any_requires_grad(std::initializer_list<Tensor> inputs);

/// Whether an op recorded x and ends in a ReLU: a backward that writes x's gradient anyway may take it through.
bool comes_out_of_relu(const Tensor& x);
/// The same where dropout may follow the ReLU: its probability, 0 without dropout; empty where x comes out of neither.
/// The backward asks Gradients::may_take_through_relu(), too.
std::optional<float> dropped_behind_relu(const Tensor& x);
/// Says of the op recorded for `output` that it ends in a ReLU, and dropout of probability `dropped` behind it; its own
/// backward must leave both out where Gradients::through_relu().
void ends_in_relu(Tensor& output, float dropped = 0.0f);
/// Keeps the values of `output` for the backward recorded for it. They are let go early where nobody can use the output
/// any more and all who did take its gradient through the ReLU that it ends in.
void keep_output(Tensor& output);
/// Says of the op recorded for `output` that it takes its first input's gradient through the ReLU that ended it.
void takes_through_relu(Tensor& output);

/// Makes `output` the result of an op on `inputs` (undefined ones allowed) whose gradients `backward` computes.
/// Call it only where any_requires_grad() said so.
void record(const char* name, Tensor& output, const std::vector<Tensor>& inputs, BackwardFunction backward);

}  // namespace striate
