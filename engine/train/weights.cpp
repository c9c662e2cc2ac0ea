#include "engine/train/weights.h"

#include <map>

#include "engine/distributed/sharding.h"
#include "kernels/error.h"

namespace striate {

namespace {
constexpr const char* kLayoutKey = "striate_layout";
constexpr const char* kLayout = "NHWC";

std::string describe(const SafetensorsEntry& entry) { return to_string(entry.dtype) + " " + to_string(entry.shape); }
}  // namespace

std::vector<NamedTensor> named_weights(const nn::Module& module) {
  std::vector<NamedTensor> all = module.named_parameters();
  for (NamedTensor& buffer : module.named_buffers()) all.push_back(std::move(buffer));
  return all;
}

std::vector<SafetensorsEntry> entries_of(const std::vector<NamedTensor>& tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : tensors) entries.push_back({name, tensor.dtype(), tensor.shape()});
  return entries;
}

void require_same_entries(const std::string& file, const std::string& model,
                          const std::vector<SafetensorsEntry>& wanted, const std::vector<SafetensorsEntry>& found) {
  std::map<std::string, const SafetensorsEntry*> unexpected;
  for (const SafetensorsEntry& entry : found) unexpected[entry.name] = &entry;
  std::string problems;
  for (const SafetensorsEntry& entry : wanted) {
    const auto it = unexpected.find(entry.name);
    if (it == unexpected.end()) {
      problems += fmt::format("\n  missing: {}, expected {}", entry.name, describe(entry));
      continue;
    }
    if (it->second->shape != entry.shape || it->second->dtype != entry.dtype) {
      problems += fmt::format("\n  {}: expected {}, found {}", entry.name, describe(entry), describe(*it->second));
    }
    unexpected.erase(it);
  }
  for (const auto& [name, entry] : unexpected)
    problems += fmt::format("\n  unexpected: {}, {}", name, describe(*entry));
  require<ConfigError>(problems.empty(), "{}: a checkpoint of another model{}:{}", file,
                       model.empty() ? "" : fmt::format(" ({})", model), problems);
}

std::string stored_layout(const Metadata& metadata) {
  const auto it = metadata.find(kLayoutKey);
  return it == metadata.end() ? "" : it->second;
}

void save_weights(const std::string& path, const nn::Module& module, Metadata metadata, const Ranks& ranks) {
  metadata[kLayoutKey] = kLayout;
  const std::vector<NamedTensor> whole = whole_tensors(named_weights(module), module.named_shards(), ranks);
  if (ranks.rank() == 0) write_safetensors(path, whole, metadata);
  if (several(ranks)) ranks.host->barrier();
}

void copy_weights(const std::string& path, const Safetensors& file, nn::Module& module) {
  const std::string layout = stored_layout(file.metadata);
  require<ConfigError>(!layout.empty(),
                       "{}: names no layout, so its weights lie as PyTorch's do (NCHW); only files that Striate wrote "
                       "can be loaded",
                       path);
  require<ConfigError>(layout == kLayout, "{}: weights in layout {}, expected {}", path, layout, kLayout);
  std::vector<NamedTensor> own = named_weights(module);
  const std::vector<nn::NamedShard> shards = module.named_shards();
  std::vector<SafetensorsEntry> wanted;
  for (const NamedTensor& t : own) wanted.push_back({t.name, t.tensor.dtype(), whole_shape(t, shards)});
  require_same_entries(path, file.text("model"), wanted, entries_of(file.tensors));
  for (NamedTensor& t : own) t.tensor.copy_from(held_rows({t.name, *file.find(t.name)}, shards));
}

Metadata load_weights(const std::string& path, nn::Module& module) {
  Safetensors file = read_safetensors(path);
  copy_weights(path, file, module);
  return std::move(file.metadata);
}

}  // namespace striate
