#pragma once

#include <string>
#include <vector>

#include "engine/tensor.h"
#include "engine/train/safetensors.h"
#include "models/weights/pickle.h"

namespace striate::models {

/// A file of torch.save (since PyTorch 1.6): a zip archive of a pickle that describes tensors and of the storages that
/// they are views of.
class TorchFile {
 public:
  /// Reads what the tensors are, not yet their values. Throws IoError for what is no such file (read_state_dict).
  explicit TorchFile(std::string path);

  /// Names, types and shapes as the tensors will have them.
  std::vector<SafetensorsEntry> entries() const;
  /// In the order of entries(), on the host, in PyTorch's layout; every kind of float becomes float32. Throws IoError
  /// for storages that are missing or have another size than the pickle says, before memory is taken for them.
  std::vector<NamedTensor> read() const;

 private:
  std::string path_, folder_;  // "archive/", within the zip
  std::vector<PickledTensor> tensors_;
};

/// Whether the file begins as a zip archive does. Throws IoError, saying how to convert it, for a file as torch.save
/// wrote it before PyTorch 1.6; and where there is no such file.
bool is_torch_file(const std::string& path);

}  // namespace striate::models
