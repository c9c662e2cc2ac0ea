#pragma once

#include <cstddef>

#include "engine/device.h"

namespace striate {

/// Bytes of one device into memory of the same or another, in the order of the device's work. `source` may change as
/// soon as this returns; what lies on the host when it returns is there. Throws CudaError for work that failed.
void copy_bytes(void* destination, Device destination_device, const void* source, Device source_device, size_t bytes);
/// Every byte of the device's memory becomes `value`.
void set_bytes(void* destination, Device device, unsigned char value, size_t bytes);

}  // namespace striate
