#include "engine/train/stored_type.h"

#include <bit>
#include <cstring>

namespace striate {
namespace {

float from_float16(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  const uint32_t exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: fraction · 2^−24
    return std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f) | sign);
  }
  const uint32_t biased = exponent == 0x1f ? 0xffu : exponent + 127 - 15;
  return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

float from_bfloat16(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

template <typename From, typename Function>
void convert_each(const void* from, int64_t count, void* to, Function function) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, static_cast<const char*>(from) + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const float result = function(value);
    std::memcpy(static_cast<char*>(to) + i * static_cast<int64_t>(sizeof(float)), &result, sizeof(float));
  }
}

}  // namespace

size_t size_of(StoredType type) {
  switch (type) {
    case StoredType::uint8:
      return 1;
    case StoredType::float16:
    case StoredType::bfloat16:
      return 2;
    case StoredType::float32:
    case StoredType::int32:
      return 4;
    case StoredType::float64:
    case StoredType::int64:
      return 8;
  }
  return 0;
}

std::string to_string(StoredType type) {
  switch (type) {
    case StoredType::float16:
      return "float16";
    case StoredType::bfloat16:
      return "bfloat16";
    case StoredType::float32:
      return "float32";
    case StoredType::float64:
      return "float64";
    case StoredType::uint8:
      return "uint8";
    case StoredType::int32:
      return "int32";
    case StoredType::int64:
      return "int64";
  }
  return "?";
}

DType tensor_type(StoredType type) {
  switch (type) {
    case StoredType::uint8:
      return DType::uint8;
    case StoredType::int32:
      return DType::int32;
    case StoredType::int64:
      return DType::int64;
    default:
      return DType::float32;
  }
}

void convert_stored(StoredType type, const void* from, int64_t count, void* to) {
  switch (type) {
    case StoredType::float16:
      return convert_each<uint16_t>(from, count, to, from_float16);
    case StoredType::bfloat16:
      return convert_each<uint16_t>(from, count, to, from_bfloat16);
    case StoredType::float64:
      return convert_each<double>(from, count, to, [](double value) { return static_cast<float>(value); });
    default:
      if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * size_of(type));
  }
}

}  // namespace striate
