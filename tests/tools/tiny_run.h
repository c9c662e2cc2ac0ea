#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace striate::test {

/// Flags of a training run that takes a second: alexnet_mini, with its dropout, on 160 drawn images of 32×32 that are
/// cropped and flipped at random; ten steps an epoch, three epochs.
std::vector<std::string> tiny_flags(const std::vector<std::string>& more = {});

/// A run of tiny_flags(), which must succeed, into a folder.
void train_tiny(const std::filesystem::path& output, const std::vector<std::string>& more = {});

/// metrics.csv without the two columns that tell the time.
std::vector<std::string> metrics_without_times(const std::filesystem::path& run);

}  // namespace striate::test
