#include "engine/train/weights.h"

#include <map>

#include "kernels/error.h"

namespace striate {

namespace {
constexpr const char* kLayoutKey = "striate_layout";
constexpr const char* kLayout = "NHWC";

std::string describe(const Tensor& tensor) { return to_string(tensor.dtype()) + " " + to_string(tensor.shape()); }
}  // namespace

std::vector<NamedTensor> named_weights(const nn::Module& module) {
  std::vector<NamedTensor> all = module.named_parameters();
  for (NamedTensor& buffer : module.named_buffers()) all.push_back(std::move(buffer));
  return all;
}

void save_weights(const std::string& path, const nn::Module& module, Metadata metadata) {
  metadata[kLayoutKey] = kLayout;
  write_safetensors(path, named_weights(module), metadata);
}

Metadata load_weights(const std::string& path, nn::Module& module) {
  const Safetensors file = read_safetensors(path);
  const std::string layout = file.text(kLayoutKey);
  require<ConfigError>(!layout.empty(),
                       "{}: names no layout, so its weights lie as PyTorch's do (NCHW); only files that Striate wrote "
                       "can be loaded",
                       path);
  require<ConfigError>(layout == kLayout, "{}: weights in layout {}, expected {}", path, layout, kLayout);

  std::map<std::string, const Tensor*> found;
  for (const NamedTensor& t : file.tensors) found[t.name] = &t.tensor;
  std::vector<NamedTensor> own = named_weights(module);
  std::string problems;
  for (const NamedTensor& wanted : own) {
    const auto it = found.find(wanted.name);
    if (it == found.end()) {
      problems += fmt::format("\n  missing: {}, expected {}", wanted.name, describe(wanted.tensor));
      continue;
    }
    if (it->second->shape() != wanted.tensor.shape() || it->second->dtype() != wanted.tensor.dtype()) {
      problems +=
          fmt::format("\n  {}: expected {}, found {}", wanted.name, describe(wanted.tensor), describe(*it->second));
    }
  }
  std::map<std::string, const Tensor*> unexpected = found;
  for (const NamedTensor& wanted : own) unexpected.erase(wanted.name);
  for (const auto& [name, tensor] : unexpected)
    problems += fmt::format("\n  unexpected: {}, {}", name, describe(*tensor));
  if (!problems.empty()) {
    const std::string model = file.text("model");
    throw ConfigError(fmt::format("{}: a checkpoint of another model{}:{}", path,
                                  model.empty() ? "" : fmt::format(" ({})", model), problems));
  }
  for (NamedTensor& t : own) t.tensor.copy_from(*found.at(t.name));
  return file.metadata;
}

}  // namespace striate
