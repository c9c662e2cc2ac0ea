#include "models/weights/weights.h"

#include <algorithm>
#include <map>

#include "models/weights/layout.h"
#include "models/weights/torch_file.h"

namespace striate::models {
namespace {

// BatchNorm's number of batches seen so far, which PyTorch keeps for networks whose momentum is an average.
bool is_batch_count(const std::string& name) {
  const std::string kEnd = ".num_batches_tracked";
  return name.size() > kEnd.size() && name.compare(name.size() - kEnd.size(), kEnd.size(), kEnd) == 0;
}

/// `read` gives the tensors whose entries are `found`; it is called once they are known to fit.
template <typename Read>
void load_pytorch(const std::string& path, const std::string& name, std::vector<SafetensorsEntry> found, Read read,
                  nn::Module& model, const Shape& input) {
  found.erase(std::remove_if(found.begin(), found.end(), [](const auto& e) { return is_batch_count(e.name); }),
              found.end());
  const PyTorchLayout layout(model, input);
  require_same_entries(path, name, layout.entries(), found);
  std::map<std::string, Tensor> own;
  for (const NamedTensor& weight : named_weights(model)) own[weight.name] = weight.tensor;
  for (const NamedTensor& weight : read()) {
    if (!is_batch_count(weight.name)) own.at(weight.name).copy_from(layout.from_pytorch(weight));
  }
}

}  // namespace

Metadata load_weights(const std::string& path, nn::Module& model, const Shape& input) {
  if (is_torch_file(path)) {
    const TorchFile file(path);
    load_pytorch(
        path, "", file.entries(), [&] { return file.read(); }, model, input);
    return {};
  }
  Safetensors file = read_safetensors(path);
  if (stored_layout(file.metadata).empty()) {
    load_pytorch(
        path, file.text("model"), entries_of(file.tensors), [&] { return std::move(file.tensors); }, model, input);
  } else {
    copy_weights(path, file, model);
  }
  return std::move(file.metadata);
}

void save_pytorch_weights(const std::string& path, nn::Module& model, const Shape& input, Metadata metadata) {
  const PyTorchLayout layout(model, input);
  std::vector<NamedTensor> weights;
  for (const NamedTensor& weight : named_weights(model)) weights.push_back({weight.name, layout.to_pytorch(weight)});
  metadata["format"] = "pt";  // as safetensors' own writer for PyTorch says it
  write_safetensors(path, weights, metadata);
}

}  // namespace striate::models
