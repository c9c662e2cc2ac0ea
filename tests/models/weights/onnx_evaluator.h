#pragma once

#include <string>
#include <vector>

#include "engine/tensor.h"
#include "onnx.pb.h"

namespace striate::test {

/// The output of an ONNX graph for its one input, by naive loops over the operators' definitions
/// (https://onnx.ai/onnx/operators, opset 17). Throws Error for operators and attributes that it does not know.
Tensor evaluate_onnx(const onnx::GraphProto& graph, const Tensor& input);

}  // namespace striate::test
