#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/tensor.h"

namespace striate {

/// Types of values in files of weights that other programs write.
enum class StoredType { float16, bfloat16, float32, float64, uint8, int32, int64 };

size_t size_of(StoredType type);
std::string to_string(StoredType type);
/// What such values become in a tensor: every kind of float is float32.
DType tensor_type(StoredType type);

/// Writes `count` values to `to`, as tensor_type(type) has them; float64 is rounded. `from` need not be aligned.
void convert_stored(StoredType type, const void* from, int64_t count, void* to);

}  // namespace striate
