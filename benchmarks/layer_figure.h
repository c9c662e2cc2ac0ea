#pragma once

#include <filesystem>
#include <string>

#include "benchmarks/layer_times.h"

namespace striate::bench {

/// Draws a wide bar for each pass, on one axis of time, divided by layers: a PNG, or an SVG where the name ends so.
/// `footnote` says in small letters what the figures come from.
void draw_layers(const LayerTimes& times, const std::string& title, const std::string& footnote,
                 const std::filesystem::path& file);

}  // namespace striate::bench
