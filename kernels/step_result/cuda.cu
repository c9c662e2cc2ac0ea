// One block: a batch has hundreds of samples, and the launch is what it costs.
#include "kernels/step_result/step_result.h"

#include "kernels/gpu/block.h"
#include "kernels/gpu/launch.h"

namespace striate::cuda {

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    step_result_kernel(const float* loss, const int32_t* rank, int64_t N, StepResult* result) {
  int correct = 0;
  for (int64_t i = threadIdx.x; i < N; i += kThreads) correct += rank[i] == 0 ? 1 : 0;
  correct = gpu::block_sum(correct);
  if (threadIdx.x == 0) *result = {*loss, correct};
}

}  // namespace

void step_result(const float* loss, const int32_t* rank, int64_t N, StepResult* result, Context& context) {
  gpu::launch(step_result_kernel, 1, kThreads, 0, *context.stream, loss, rank, N, result);
}

}  // namespace striate::cuda
