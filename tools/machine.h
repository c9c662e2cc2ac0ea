#pragma once

#include <string>

#include "engine/device.h"
#include "tools/build_facts.h"

namespace striate {

/// The machine that a run's figures come from: "Intel Xeon Gold 6338, 2 cores, 23.4 GiB", and the GPU where the device
/// is one. What the system does not tell is left out.
std::string machine_description(Device device);

/// What stands in every file of measurements: commit, version, compiler, machine and date, each a name and a text; on
/// cuda the versions of CUDA; and, where kernels of device cuda are executed on the host, that times mean nothing.
Provenance provenance(Device device);
/// The same as lines of a CSV file's head: "# commit: …".
std::string provenance_comment(Device device);
/// The same in a line below a figure: "AMD EPYC, 2 cores, … · GCC 12.2.0, Release · Striate 0.1.0, 0123456789ab · …".
std::string provenance_line(Device device);
/// The most memory that this process has held, in bytes.
int64_t peak_resident_bytes();

/// What must be said beside every time of that device: empty, but for device cuda in a build without nvcc.
std::string times_notice(Device device);

/// machine_description() of given contents of /proc/cpuinfo and /proc/meminfo.
std::string machine_description(const std::string& cpuinfo, const std::string& meminfo, unsigned cores);

}  // namespace striate
