#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/experiments/layer_responses.h"
#include "tools/experiments/tuning.h"

namespace striate {

enum class PolarPlots { no, yes };

/// kernel_KK.png for every kernel: mean response against orientation and against spatial frequency, and the kernel
/// itself; with PolarPlots::yes kernel_KK_polar.png too. `title` stands behind the kernel's number: "features.0, epoch
/// 3". The folder is there. Throws as Figure::save() does.
void draw_kernel_figures(const LayerResponses& responses, const std::vector<Tuning>& tunings, const std::string& title,
                         const std::filesystem::path& folder, PolarPlots polar = PolarPlots::no);

/// How many responsive kernels have a circular variance in each of 20 equal bins of [0, 1]; 1 is in the last.
std::vector<int> circular_variance_bins(const std::vector<Tuning>& tunings, double Tuning::*value);

/// Histograms of both circular variances, each with its quartiles beside macaque V1's.
void draw_circular_variance_histogram(const std::vector<Tuning>& tunings, const std::string& title,
                                      const std::filesystem::path& png);

/// All that a layer's tuning leaves in a folder: the figures above, tuning.csv and responses.safetensors. The numbers
/// are written first.
void write_tuning_folder(const LayerResponses& responses, const std::vector<Tuning>& tunings, const std::string& title,
                         const std::vector<std::pair<std::string, std::string>>& metadata,
                         const std::filesystem::path& folder, PolarPlots polar = PolarPlots::no);

}  // namespace striate
