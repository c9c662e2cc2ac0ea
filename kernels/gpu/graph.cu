// A GPU's graph is the driver's. In a host build it is a list of what to call again.
#include "kernels/gpu/graph.h"

#include <utility>

#include "kernels/gpu/check.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

namespace striate::gpu {

namespace {
cudaStream_t stream_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }
}  // namespace

struct Graph::Content {
  ~Content() {
    if (executable) cudaGraphExecDestroy(executable);
  }
  std::vector<Work> work;
  WorkCounts counts;
  size_t size = 0;
  cudaGraphExec_t executable = nullptr;
};

GraphCapture::GraphCapture(Stream& stream, CaptureMode mode)
    : stream_(stream), recording_(std::make_unique<Recording>()) {
  CUDA_CHECK(cudaStreamBeginCapture(stream_of(stream), mode == CaptureMode::relaxed
                                                           ? cudaStreamCaptureModeRelaxed
                                                           : cudaStreamCaptureModeThreadLocal));
  stream_.recording_ = recording_.get();
}

GraphCapture::~GraphCapture() {
  if (stream_.recording_ != recording_.get()) return;
  stream_.recording_ = nullptr;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_of(stream_), &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();  // whoever spoiled the capture was told: it must not come up again at the next check
}

Graph GraphCapture::finish() {
  auto content = std::make_unique<Graph::Content>();
  stream_.recording_ = nullptr;
  cudaGraph_t graph = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream_of(stream_), &graph);
  if (status == cudaSuccess) status = cudaGraphGetNodes(graph, nullptr, &content->size);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&content->executable, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (status != cudaSuccess) cudaGetLastError();
  CUDA_CHECK(status);
  content->work = std::move(recording_->work);
  return Graph(std::move(content));
}

void Graph::replay(Stream& stream) const {
  CUDA_CHECK(cudaGraphLaunch(content_->executable, stream_of(stream)));
  stream.count(content_->counts);
}

Recording* recording_of_this_thread() { return nullptr; }
void refuse_while_capturing(const char*) {}
void refuse_unless_relaxed(const char*) {}

}  // namespace striate::gpu

#else

namespace striate::gpu {

namespace {
thread_local Recording* capturing = nullptr;
}

struct Graph::Content {
  std::vector<Work> work;
  WorkCounts counts;
  size_t size = 0;
  std::vector<std::function<void()> > steps;
};

GraphCapture::GraphCapture(Stream& stream, CaptureMode mode)
    : stream_(stream), recording_(std::make_unique<Recording>()) {
  refuse_while_capturing("another capture");
  recording_->relaxed = mode == CaptureMode::relaxed;
  stream_.recording_ = capturing = recording_.get();
}

GraphCapture::~GraphCapture() {
  if (stream_.recording_ == recording_.get()) stream_.recording_ = capturing = nullptr;
}

Graph GraphCapture::finish() {
  auto content = std::make_unique<Graph::Content>();
  stream_.recording_ = capturing = nullptr;
  if (recording_->spoiled) {
    throw_cuda_error("end of a capture", __FILE__, __LINE__, "operation failed due to a previous error during capture");
  }
  content->work = std::move(recording_->work);
  content->steps = std::move(recording_->steps);
  content->size = content->work.size();
  return Graph(std::move(content));
}

void Graph::replay(Stream& stream) const {
  if (stream.recording() != nullptr) refuse_while_capturing("a graph's replay");
  for (const auto& step : content_->steps) step();
  stream.count(content_->counts);
}

Recording* recording_of_this_thread() { return capturing; }

void refuse_while_capturing(const char* call) {
  if (capturing == nullptr) return;
  capturing->spoiled = true;
  throw_cuda_error(call, __FILE__, __LINE__, "operation not permitted when stream is capturing");
}

void refuse_unless_relaxed(const char* call) {
  if (capturing != nullptr && !capturing->relaxed) refuse_while_capturing(call);
}

}  // namespace striate::gpu

#endif

namespace striate::gpu {

Graph::Graph(std::unique_ptr<Content> content) : content_(std::move(content)) {
  for (const Work& work : content_->work) content_->counts.add(work);
  content_->counts.replays = 1;
}
Graph::~Graph() = default;
Graph::Graph(Graph&& other) noexcept = default;
Graph& Graph::operator=(Graph&& other) noexcept = default;

const std::vector<Work>& Graph::work() const { return content_->work; }
size_t Graph::size() const { return content_->size; }

}  // namespace striate::gpu
