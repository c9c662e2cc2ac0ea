#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace striate {

/// What a training step tells of a batch.
struct StepResult {
  float loss = 0.0f;
  int32_t correct = 0;  ///< samples whose own class comes first
};

// step_result: result->loss = *loss, result->correct = the number of zeros in rank [N], so that one copy of 8 bytes
// brings both to the host. Exact.
namespace reference {
void step_result(const float* loss, const int32_t* rank, int64_t N, StepResult* result, Context& context);
}  // namespace reference

namespace cpu {
using reference::step_result;
}  // namespace cpu

namespace cuda {
void step_result(const float* loss, const int32_t* rank, int64_t N, StepResult* result, Context& context);
}  // namespace cuda

}  // namespace striate
