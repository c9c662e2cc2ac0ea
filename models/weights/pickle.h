#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/stored_type.h"

namespace striate::models {

/// A tensor as a pickled state dict describes it: a view of a storage that lies elsewhere.
struct PickledTensor {
  std::string name;
  StoredType type = StoredType::float32;
  std::string storage;           ///< its key; several tensors may share one
  int64_t storage_elements = 0;  ///< of the whole storage, as the pickle says
  int64_t offset = 0;            ///< of the first element; the view lies within storage_elements
  Shape shape, strides;          ///< in elements, none negative
};

/// The tensors of a state dict, in its order, from the pickle that torch.save writes (data.pkl): the dict itself, or
/// one that lies in a checkpoint under "state_dict", "model_state_dict" or "model". A prefix "module." or "_orig_mod."
/// that all names have (DataParallel, torch.compile) is taken off.
///
/// A pickle is a program. This one may make numbers, texts, tuples, lists, dicts and views of storages, and nothing
/// else: the opcodes are those that state dicts use, and a name other than torch's own for tensors is refused with
/// IoError, as is every opcode that is not known, before anything is made of it. `file` is for errors.
std::vector<PickledTensor> read_state_dict(std::string_view pickle, const std::string& file);

}  // namespace striate::models
