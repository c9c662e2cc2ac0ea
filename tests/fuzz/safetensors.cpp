// A file of named tensors. What is accepted must read back the same once it is written again.
#include "engine/train/safetensors.h"

#include <cstring>

#include "engine/storage.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {
namespace {

std::string_view values(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.impl()->storage->data()),
          static_cast<size_t>(tensor.size()) * size_of(tensor.dtype())};
}

std::string written(const Safetensors& file) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : file.tensors) entries.push_back({name, tensor.dtype(), tensor.shape()});
  std::string bytes = safetensors_header(entries, file.metadata);
  for (const NamedTensor& t : file.tensors) bytes += values(t.tensor);
  return bytes;
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const std::string path = folder.put("weights.safetensors", input);
  const Metadata metadata = read_safetensors_metadata(path);
  const Safetensors file = read_safetensors(path);
  expect(file.metadata == metadata, "the same metadata from both readers");

  const Safetensors again = read_safetensors(folder.put("again.safetensors", written(file)));
  expect(again.metadata == metadata, "the metadata that was written");
  expect(again.tensors.size() == file.tensors.size(), "the tensors that were written");
  for (const NamedTensor& t : file.tensors) {
    const Tensor* other = again.find(t.name);
    expect(other != nullptr && other->shape() == t.tensor.shape() && other->dtype() == t.tensor.dtype(),
           "the shapes and types that were written");
    expect(values(*other) == values(t.tensor), "the values that were written");
  }
}

}  // namespace striate::fuzz
