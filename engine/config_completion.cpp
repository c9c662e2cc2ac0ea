#include "engine/config_completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace striate {
namespace {

bool is_in_list(const std::string& dotted) { return dotted.find('[') != std::string::npos; }

ConfigTree scalar(std::string text) {
  ConfigTree tree;
  tree.kind = ConfigTree::Kind::scalar;
  tree.scalar = std::move(text);
  return tree;
}

/// The place of a dotted key below `root`, made with the maps on the way; null where something else than a map stands
/// in the way.
ConfigTree* place_of(ConfigTree& root, const std::string& dotted) {
  ConfigTree* tree = &root;
  for (size_t begin = 0; begin <= dotted.size();) {
    const size_t dot = std::min(dotted.find('.', begin), dotted.size());
    const std::string key = dotted.substr(begin, dot - begin);
    if (tree->kind == ConfigTree::Kind::null) tree->kind = ConfigTree::Kind::map;
    if (tree->kind != ConfigTree::Kind::map) return nullptr;
    if (tree->find(key) == nullptr) tree->entries.push_back({key, ConfigTree{}});
    tree = tree->find(key);
    begin = dot + 1;
  }
  return tree;
}

}  // namespace

ConfigTree scalar_tree(bool value) { return scalar(value ? "true" : "false"); }
ConfigTree scalar_tree(int64_t value) { return scalar(fmt::format("{}", value)); }
ConfigTree scalar_tree(double value) { return scalar(fmt::format("{}", value)); }
ConfigTree scalar_tree(const std::string& value) { return scalar(value); }

void ConfigCompletion::ask(const std::string& dotted) { order_.emplace(dotted, order_.size()); }

void ConfigCompletion::fall_back(const std::string& dotted, ConfigTree value) {
  if (!is_in_list(dotted)) fallbacks_[dotted] = std::move(value);
}

ConfigTree ConfigCompletion::complete(ConfigTree root) const {
  for (const auto& [dotted, value] : fallbacks_) {
    ConfigTree* place = place_of(root, dotted);
    if (place != nullptr && place->kind == ConfigTree::Kind::null) *place = value;
  }
  sort(root, "");
  return root;
}

void ConfigCompletion::sort(ConfigTree& map, const std::string& path) const {
  const auto dotted = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  const auto place = [&](const std::string& key) {
    const auto found = order_.find(dotted(key));
    return found == order_.end() ? std::numeric_limits<size_t>::max() : found->second;
  };
  std::stable_sort(map.entries.begin(), map.entries.end(),
                   [&](const auto& a, const auto& b) { return place(a.key) < place(b.key); });
  for (auto& [key, value] : map.entries) {
    if (value.kind == ConfigTree::Kind::map) sort(value, dotted(key));
  }
}

}  // namespace striate
