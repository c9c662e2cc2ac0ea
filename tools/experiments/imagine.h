#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/nn/module.h"
#include "tools/experiments/layer_responses.h"

namespace striate {

/// What of a unit is raised, where its layer gives a map [P,Q,K]: its mean over the map, or its value at the centre.
enum class ImagineTarget { channel, centre };
/// "channel" or "centre"; throws ConfigError for other words.
ImagineTarget parse_imagine_target(const std::string& text);

/// Gradient ascent on the input, held to images by a decay and a blur (Yosinski et al. 2015, "Understanding neural
/// networks through deep visualization") and by jitter (Mordvintsev et al. 2015, "Inceptionism").
struct ImagineOptions {
  ImagineTarget target = ImagineTarget::channel;
  int steps = 256;
  double rate = 0.05;   ///< mean change of a pixel in a step, in deviations of the normalisation
  double decay = 0.01;  ///< of the image's distance from mid-grey in a step; 0: none
  double blur = 0.5;    ///< deviation in pixels of a Gaussian after every fourth step; 0: none
  /// Most pixels that the image is shifted, cyclically, in each direction for a step. −1: 2, but 0 for the centre,
  /// whose receptive field stands still.
  int jitter = -1;
  uint64_t seed = 0;  ///< of the first image (mid-grey with a little noise) and of the shifts
  /// Told after every step; false stops.
  std::function<bool(int done, int total)> progress{};
};

struct Imagined {
  int64_t unit = 0;
  Image image;
  double before = 0.0, after = 0.0;  ///< the target's value for the first image and for this one
};

/// The number of units of a layer's output: its last axis. Throws ConfigError, listing the layers, where there is none
/// of that name; "" is the network itself, whose units are the classes.
int64_t unit_count(nn::Module& model, const std::string& layer, const NetworkInput& input, Device device);

/// An image for each of `units` of `layer` ("": the classes, before the softmax) that makes it respond as it can;
/// convolutions and linear layers before the activation that follows. The network runs in evaluation mode, its
/// parameters and their gradients stay as they are. The same bits for the same seed, device and threads. Throws
/// ConfigError as unit_count() does, for a unit that the layer has not got, and for options out of range.
std::vector<Imagined> imagine(nn::Module& model, const std::string& layer, const std::vector<int64_t>& units,
                              const NetworkInput& input, Device device, const ImagineOptions& options = {});

}  // namespace striate
