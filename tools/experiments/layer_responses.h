#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/nn/layers.h"
#include "tools/experiments/gratings.h"

namespace striate {

/// Where a unit's response is read.
enum class ResponseStage {
  pre_relu,   ///< the convolution's own output
  post_relu,  ///< that through the batch norm and activation which follow it
};
std::string to_string(ResponseStage stage);  ///< "pre-relu", "post-relu"

/// What a network is shown: images [height, width, channels] of pixels in [0, 1], normalised as (pixel − mean)/std.
struct NetworkInput {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<double> mean;  ///< per channel, or of every place: [height, width, channels]
  std::vector<double> std;   ///< per channel

  bool is_consistent() const;
};

/// Throws ConfigError unless gratings can be shown to a network whose first layer sees so many channels: 1 or 3.
void check_input_channels(int64_t channels);

/// A convolution of a network by its name.
struct ConvLayer {
  std::string name;
  nn::Conv2d* conv = nullptr;
};
/// The first one where `name` is empty. Throws ConfigError, listing the network's convolutions, where there is none of
/// that name, or it is a layer of another kind.
ConvLayer find_conv(nn::Module& model, const std::string& name);

/// A layer's responses to gratings at its centre unit.
struct LayerResponses {
  std::string layer;
  ResponseStage stage = ResponseStage::pre_relu;
  GratingGrid grid;
  int64_t width = 0;  ///< of the images, in pixels
  int64_t kernels = 0;
  int64_t unit_y = 0, unit_x = 0, map_height = 0, map_width = 0;
  std::vector<float> values;  ///< [kernels, orientations, frequencies, phases, colours]
  Tensor weight;              ///< the layer's [K,R,S,C], a copy on the host
};

/// Shows the gratings to the network, in batches as large as memory allows, up to the layer; the rest does not run. The
/// network lies on `device`; its training mode is as before afterwards. `progress`, where given, is told images done
/// and total. Throws ConfigError for an input of neither 1 nor 3 channels, a grid that check_grid() refuses, and
/// post_relu where no activation follows.
LayerResponses measure_responses(nn::Module& model, const ConvLayer& layer, const GratingPictures& gratings,
                                 const NetworkInput& input, Device device, ResponseStage stage,
                                 const std::function<void(int64_t, int64_t)>& progress = {});

/// responses.safetensors: `responses` as above, `kernels` [K,R,S,C], `orientation_deg`,
/// `spatial_frequency_cycles_per_image`, `phase_rad`; metadata: layer, stage, colours, unit, and `more`.
void write_responses(const std::string& file, const LayerResponses& responses,
                     const std::vector<std::pair<std::string, std::string>>& more = {});

}  // namespace striate
