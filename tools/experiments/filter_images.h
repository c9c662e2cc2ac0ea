#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/tensor.h"

namespace striate {

/// Over what the largest weight is taken: each kernel's own, or the whole layer's, which keeps their strengths
/// comparable.
enum class FilterScale { kernel, layer };
/// "kernel" or "layer"; throws ConfigError for other words.
FilterScale parse_filter_scale(const std::string& text);

/// Weights [K,R,S,C] as K pictures, R pixels high and S wide. Zero is mid-grey (128), the largest magnitude black or
/// white: 128 + 127·w/max|w|. Three channels are one RGB picture, one is grey; any other count is a mosaic of grey
/// slices, one a channel in reading order, with a white line between. A kernel of zeros is mid-grey throughout. Not
/// finite weights are white. Throws ShapeError unless the weights have four axes.
std::vector<Image> filter_images(const Tensor& weights, FilterScale scale = FilterScale::kernel);

/// What the pictures show, for a figure's subtitle: "3 channels as red, green, blue; …".
std::string describe_filters(const Tensor& weights, FilterScale scale);

/// The first `count` (0: all) kernels' pictures as a grid, numbered from 0, PNG or SVG by the file's name; what was
/// scaled by what stands below the title; `columns` 0: as many as make a good page.
void draw_filters(const Tensor& weights, const std::string& title, const std::filesystem::path& file,
                  FilterScale scale = FilterScale::kernel, int64_t count = 0, int columns = 0);

}  // namespace striate
