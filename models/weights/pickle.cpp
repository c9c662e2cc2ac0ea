#include "models/weights/pickle.h"

#include <algorithm>
#include <array>
#include <set>

#include "kernels/error.h"
#include "models/weights/pickle_machine.h"

namespace striate::models {
namespace {

using pickle::Dict;
using pickle::Value;
using pickle::View;

constexpr std::array<const char*, 3> kNestedUnder{"state_dict", "model_state_dict", "model"};
constexpr std::array<const char*, 2> kPrefixes{"module.", "_orig_mod."};

bool holds_tensors(const Dict& dict) {
  return std::any_of(dict.items.begin(), dict.items.end(),
                     [](const auto& item) { return std::holds_alternative<View>(*item.second); });
}

const Dict* find_dict(const Dict& dict, std::string_view wanted) {
  for (const auto& [key, value] : dict.items) {
    const auto* name = std::get_if<std::string>(key);
    if (name != nullptr && *name == wanted) return std::get_if<Dict>(value);
  }
  return nullptr;
}

/// The state dict, or null.
const Dict* find_state_dict(const Dict& root) {
  for (const char* name : kNestedUnder) {
    const Dict* nested = find_dict(root, name);
    if (nested != nullptr && holds_tensors(*nested)) return nested;
  }
  return holds_tensors(root) ? &root : nullptr;
}

void take_off_prefixes(std::vector<PickledTensor>& tensors) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : kPrefixes) {
      const bool all = std::all_of(tensors.begin(), tensors.end(),
                                   [&](const PickledTensor& t) { return t.name.rfind(prefix, 0) == 0; });
      if (!all) continue;
      for (PickledTensor& t : tensors) t.name.erase(0, prefix.size());
      again = true;
    }
  }
}

}  // namespace

std::vector<PickledTensor> read_state_dict(std::string_view program, const std::string& file) {
  pickle::Machine machine(program, file);
  const auto* root = std::get_if<Dict>(&machine.run());
  const Dict* dict = root == nullptr ? nullptr : find_state_dict(*root);
  require<IoError>(dict != nullptr,
                   "{}: holds no state dict: expected a dict of tensors, or one with a dict of tensors under "
                   "'state_dict', 'model_state_dict' or 'model'",
                   file);
  std::vector<PickledTensor> tensors;
  std::set<std::string_view> names;
  for (const auto& [key, value] : dict->items) {
    const auto* name = std::get_if<std::string>(key);
    const auto* view = std::get_if<View>(value);
    require<IoError>(name != nullptr, "{}: a tensor of the state dict has a key that is no text", file);
    require<IoError>(view != nullptr, "{}: '{}' of the state dict is no tensor", file, *name);
    require<IoError>(names.insert(*name).second, "{}: '{}' stands twice in the state dict", file, *name);
    tensors.push_back({*name, view->storage->type, view->storage->key, view->storage->elements, view->offset,
                       view->shape, view->strides});
  }
  take_off_prefixes(tensors);
  return tensors;
}

}  // namespace striate::models
