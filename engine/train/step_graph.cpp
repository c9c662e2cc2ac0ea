#include "engine/train/step_graph.h"

#include <utility>

#include "engine/profiler.h"
#include "kernels/error.h"

namespace striate {

namespace {
// The first makes what stays (gradients, libraries' handles, the workspace's size), the second finds the pool as every
// later one does.
constexpr int kStepsBefore = 2;

Batch on_device(const Batch& batch, Device device) {
  Batch moved = batch;
  moved.images = batch.images.to(device);
  return moved;
}
}  // namespace

StepGraph::StepGraph(GraphMode mode, Device device, int64_t full, std::string obstacle,
                     std::function<void(const std::string&)> notice)
    : mode_(device == Device::cuda ? mode : GraphMode::off),
      device_(device),
      full_(full),
      obstacle_(std::move(obstacle)),
      notice_(std::move(notice)) {
  require<ConfigError>(mode != GraphMode::on || device == Device::cuda,
                       "train.cuda_graph: true needs device cuda, and the network lies on {}; use auto",
                       to_string(device));
}

void StepGraph::run(const Batch& batch, const Work& work, const std::function<void()>& forget) {
  if (!wanted(batch)) {
    work(on_device(batch, device_));
    return;
  }
  if (!input_) {
    input_.emplace(batch, device_);
    pool_.emplace(device_);
  }
  if (!input_->load(batch) || workspace_ != context(device_).workspace->reserve(0)) graph_.reset();
  if (!graph_ && (steps_before_ < kStepsBefore || !capture(work, forget))) {
    std::optional<MemoryPool::Use> use;
    if (pool_) use.emplace(*pool_);
    ++steps_before_;
    work(input_->batch());
    return;
  }
  graph_->replay(*context(device_).stream);
}

bool StepGraph::wanted(const Batch& batch) {
  if (mode_ == GraphMode::off) return false;
  if (batch.partner_labels.defined()) obstacle_ = "images are mixed from two, by a share that changes with the batch";
  if (!obstacle_.empty()) {
    give_up(obstacle_);
    return false;
  }
  if (batch.labels.size() != full_) return false;
  if (input_ && !input_->fits(batch)) {
    give_up(fmt::format("images changed from {} to {}", to_string(input_->batch().images.shape()),
                        to_string(batch.images.shape())));
    return false;
  }
  return Profiler::current() == nullptr;  // which sets events between the kernels
}

bool StepGraph::capture(const Work& work, const std::function<void()>& forget) {
  try {
    const MemoryPool::Use use(*pool_);
    gpu::GraphCapture capture(*context(device_).stream);
    work(input_->batch());
    graph_.emplace(capture.finish());
    workspace_ = context(device_).workspace->reserve(0);
    return true;
  } catch (const CudaError& error) {
    forget();
    give_up(error.what());
    return false;
  }
}

void StepGraph::give_up(const std::string& reason) {
  require<ConfigError>(mode_ != GraphMode::on,
                       "train.cuda_graph: true, but the training steps cannot be captured: {}; use auto", reason);
  mode_ = GraphMode::off;
  graph_.reset();
  pool_.reset();
  notice_(
      fmt::format("Training steps are not captured in a CUDA graph, each kernel is launched by itself: {}", reason));
}

}  // namespace striate
