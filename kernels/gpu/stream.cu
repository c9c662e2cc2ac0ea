#include "kernels/gpu/stream.h"

#include "kernels/gpu/check.h"
#include "kernels/gpu/graph.h"

namespace striate::gpu {

void Stream::take(const Work& work) {
  if (recording_ != nullptr) {
    recording_->work.push_back(work);
  } else {
    counts_.add(work);
  }
}

}  // namespace striate::gpu

#if defined(__CUDACC__)

#include <cuda_runtime.h>

namespace striate::gpu {

namespace {
cudaStream_t stream_of(void* native) { return static_cast<cudaStream_t>(native); }
cudaEvent_t event_of(void* native) { return static_cast<cudaEvent_t>(native); }
}  // namespace

Stream::Stream() {
  cudaStream_t stream = nullptr;
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  native_ = stream;
}

Stream::~Stream() {
  if (native_) cudaStreamDestroy(stream_of(native_));
}

void Stream::synchronize() { CUDA_CHECK(cudaStreamSynchronize(stream_of(native_))); }

void Stream::wait(const Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(stream_of(native_), event_of(event.native()), 0));
}

Event::Event() {
  cudaEvent_t event = nullptr;
  CUDA_CHECK(cudaEventCreate(&event));
  native_ = event;
}

Event::~Event() {
  if (native_) cudaEventDestroy(event_of(native_));
}

void Event::record(Stream& stream) { CUDA_CHECK(cudaEventRecord(event_of(native_), stream_of(stream.native()))); }

void Event::synchronize() const { CUDA_CHECK(cudaEventSynchronize(event_of(native_))); }

float Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0.0f;
  CUDA_CHECK(cudaEventElapsedTime(&milliseconds, event_of(start.native_), event_of(native_)));
  return milliseconds;
}

}  // namespace striate::gpu

#else

#include <chrono>

namespace striate::gpu {

namespace {
[[noreturn]] void throw_captured_event() {
  if (Recording* recording = recording_of_this_thread()) recording->spoiled = true;
  throw_cuda_error("use of an event", __FILE__, __LINE__,
                   "operation not permitted on an event last recorded in a capturing stream");
}
}  // namespace

Stream::Stream() = default;
Stream::~Stream() = default;
void Stream::synchronize() {
  if (recording_ != nullptr) refuse_while_capturing("waiting for a stream");
}
void Stream::wait(const Event& event) {
  // A captured stream and others do not wait for each other: a Graph is the work of one stream.
  if ((recording_ != nullptr) == event.captured_) return;
  if (Recording* recording = recording_of_this_thread()) recording->spoiled = true;
  throw_cuda_error("wait for an event", __FILE__, __LINE__,
                   "dependency created on uncaptured work in another stream, or of it on captured work");
}

Event::Event() = default;
Event::~Event() = default;
void Event::record(Stream& stream) {
  captured_ = stream.recording() != nullptr;
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
void Event::synchronize() const {
  if (captured_) throw_captured_event();
  refuse_while_capturing("waiting for an event");
}
float Event::milliseconds_since(const Event& start) const {
  if (captured_ || start.captured_) throw_captured_event();
  return static_cast<float>((seconds_ - start.seconds_) * 1e3);
}

}  // namespace striate::gpu

#endif
