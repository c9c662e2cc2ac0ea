#pragma once

#include <string>

#include "engine/device.h"

namespace striate {

/// The machine that a run's figures come from: "Intel Xeon Gold 6338, 2 cores, 23.4 GiB", and the GPU where the device
/// is one. What the system does not tell is left out.
std::string machine_description(Device device);

/// The same of given contents of /proc/cpuinfo and /proc/meminfo.
std::string machine_description(const std::string& cpuinfo, const std::string& meminfo, unsigned cores);

}  // namespace striate
