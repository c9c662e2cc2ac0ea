#include "kernels/gpu/stream.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include "kernels/gpu/check.h"

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

Stream::Stream() = default;
Stream::~Stream() = default;
void Stream::synchronize() {}
void Stream::wait(const Event&) {}

Event::Event() = default;
Event::~Event() = default;
void Event::record(Stream&) {
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
void Event::synchronize() const {}
float Event::milliseconds_since(const Event& start) const {
  return static_cast<float>((seconds_ - start.seconds_) * 1e3);
}

}  // namespace striate::gpu

#endif
