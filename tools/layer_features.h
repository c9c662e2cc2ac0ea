#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "engine/train/atomic_file.h"
#include "engine/train/batch_source.h"
#include "engine/train/safetensors.h"

namespace striate {

/// `evaluate --features`: a layer's output for every image as a safetensors file, `features` [images, …] float32 in
/// NHWC and `labels` [images] int32. Values go to the file batch by batch; the file appears whole, on commit(). Install
/// it as the forward's observer, then add() every batch after its forward.
class LayerFeatures : public nn::ForwardObserver {
 public:
  /// `images` is the most that will come. Throws ConfigError naming the nearest and all layers where there is no
  /// `layer`; IoError where the file cannot be made.
  LayerFeatures(std::string file, nn::Module& model, const std::string& layer, int64_t images, Metadata metadata);

  void observe(nn::Module& module, const Tensor& input, const Tensor& output) override;
  void add(const Batch& batch);
  /// Throws Error where no image came.
  void commit();

 private:
  std::string header(size_t bytes) const;

  std::string layer_;
  const nn::Module* module_;
  AtomicFile file_;  // made after the layer was found
  int64_t most_images_;
  Metadata metadata_;
  Tensor output_;  // of the batch at hand
  Shape shape_;    // of the features, the images so far first
  std::vector<int32_t> labels_;
  size_t header_bytes_ = 0;
};

}  // namespace striate
