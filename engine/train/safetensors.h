#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace striate {

using Metadata = std::map<std::string, std::string>;

/// A file of named tensors (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header, the
/// values. float32, int32, int64 and uint8; float16, bfloat16 and float64 are read as float32.
struct Safetensors {
  std::vector<NamedTensor> tensors;  ///< on the host, in the order in which they lie in the file
  Metadata metadata;

  /// Null where there is none of that name.
  const Tensor* find(const std::string& name) const;
  /// The metadata's value, empty where absent.
  std::string text(const std::string& key) const;
};

/// Throws IoError, naming file and tensor, for a missing file and for a header that lies: lengths, offsets, overlaps,
/// gaps, sizes against shapes, duplicate names. Nothing larger than the file is ever allocated (twice that for
/// float16).
Safetensors read_safetensors(const std::string& path);
/// The metadata alone; checks the header as read_safetensors does.
Metadata read_safetensors_metadata(const std::string& path);
/// A tensor as a file's header names it.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
};
/// What a file begins with, its length included, for whoever writes the values of `entries` one after another behind
/// it; padded with spaces to `bytes` where it is shorter. Throws IoError for two tensors of one name.
std::string safetensors_header(const std::vector<SafetensorsEntry>& entries, const Metadata& metadata,
                               size_t bytes = 0);
/// Written whole or not at all (AtomicFile). Throws IoError.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors, const Metadata& metadata);

}  // namespace striate
