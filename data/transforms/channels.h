#pragma once

#include "data/transforms/transform.h"

namespace striate {

/// Grey to RGB by replication, RGB to grey by luminance; `from` and `to` must be different pictures, channels 1 or 3.
void convert_channels(const Image& from, int channels, Image& to);

/// convert_channels as a transform; a picture that has the channels already is left alone.
class ConvertChannels final : public Transform {
 public:
  explicit ConvertChannels(int channels) : channels_(channels) {}
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;
  bool frame(Framing& framing, Random& random) const override;

 private:
  int channels_;
};

}  // namespace striate
