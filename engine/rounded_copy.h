#pragma once

#include <vector>

#include "engine/tensor.h"
#include "kernels/optimizer/optimizer.h"

/// Products in bfloat16 read parameters rounded, while the optimizer moves their float32 values. Each has a copy for
/// that on its Storage, made where one is first asked for; updates write it along with the values, and whatever else
/// writes the values (Storage::data()) marks it out of date.
namespace striate {

/// The values of a float32 tensor as bfloat16, of the same shape, cut off from the graph. Its memory is the copy that
/// lies on the tensor's storage: not to be written, and another's after the next update. Rounds only where that is
/// missing or out of date.
Tensor rounded_copy(const Tensor& values);

/// Makes `update` write the tensor's values and, where there is a rounded copy, that as well; it counts as up to date
/// from here on.
void aim_update(ParameterUpdate<float>& update, Tensor& parameter);

/// Brings every rounded copy that there is up to date: before a recorded step is replayed, in which nobody looks.
void refresh_rounded_copies(const std::vector<NamedTensor>& parameters);

}  // namespace striate
