#include "tools/layer_features.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {
namespace {

const nn::Module& find_layer(nn::Module& model, const std::string& layer) {
  std::vector<std::string> all, layers;
  for (const nn::NamedModule& named : model.named_modules()) {
    if (named.name.empty()) continue;
    if (named.name == layer) return *named.module;
    all.push_back(named.name);
    if (named.module->children().empty()) layers.push_back(named.name);
  }
  const std::string near = nearest(layer, all);
  throw ConfigError(fmt::format("--features {}: no such layer{}; there are {}", layer,
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                fmt::join(layers, ", ")));
}

}  // namespace

LayerFeatures::LayerFeatures(std::string file, nn::Module& model, const std::string& layer, int64_t images,
                             Metadata metadata)
    : layer_(layer),
      module_(&find_layer(model, layer)),
      file_(std::move(file)),
      most_images_(images),
      metadata_(std::move(metadata)) {
  metadata_["layer"] = layer;
  metadata_["layout"] = "NHWC";
}

std::string LayerFeatures::header(size_t bytes) const {
  return safetensors_header({{"features", DType::float32, shape_}, {"labels", DType::int32, {shape_.front()}}},
                            metadata_, bytes);
}

void LayerFeatures::observe(nn::Module& module, const Tensor&, const Tensor& output) {
  if (&module == module_) output_ = output;
}

void LayerFeatures::add(const Batch& batch) {
  require<Error>(output_.defined(), "--features {}: the layer takes no part in the network's forward", layer_);
  const Tensor values = std::exchange(output_, {}).to(DType::float32).to(Device::cpu);
  if (shape_.empty()) {
    // Room for a header of as many images as can come; how many do is known at the end.
    shape_ = values.shape();
    shape_[0] = most_images_;
    const std::string widest = header(0);
    header_bytes_ = widest.size();
    file_.write(widest);
    shape_[0] = 0;
  }
  shape_[0] += values.dim(0);
  file_.write(values.data<float>(), static_cast<size_t>(values.size()) * sizeof(float));
  const Tensor labels = batch.labels.to(Device::cpu);
  labels_.insert(labels_.end(), labels.data<int32_t>(), labels.data<int32_t>() + labels.size());
}

void LayerFeatures::commit() {
  require<Error>(!shape_.empty(), "--features {}: the data have no images", layer_);
  file_.write(labels_.data(), labels_.size() * sizeof(int32_t));
  file_.overwrite(0, header(header_bytes_));
  file_.commit();
}

}  // namespace striate
