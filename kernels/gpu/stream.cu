#include "kernels/gpu/stream.h"

#include "kernels/gpu/check.h"

namespace striate::gpu {

Stream::Stream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

Stream::~Stream() {
  if (stream_) cudaStreamDestroy(stream_);
}

void Stream::synchronize() { CUDA_CHECK(cudaStreamSynchronize(stream_)); }

}  // namespace striate::gpu
