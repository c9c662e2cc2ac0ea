#pragma once

#include <filesystem>

#include "tools/experiments/kernel_history.h"

namespace striate {

/// conv1_kernels.apng: a frame an epoch with every kernel and the epoch's number, about eight seconds long, looping;
/// the last epoch stays for two seconds. Throws IoError.
void write_kernel_film(const KernelHistory& history, const std::filesystem::path& apng);

}  // namespace striate
