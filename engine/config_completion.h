#pragma once

#include <map>
#include <string>

#include "engine/config_tree.h"

namespace striate {

/// What a configuration's readers have asked for, so that the configuration can be written with nothing left to
/// defaults: each key that was asked for, in that order, at the value that was given or else returned.
class ConfigCompletion {
 public:
  /// A key was asked for by its dotted name.
  void ask(const std::string& dotted);
  /// It was absent, and this was returned for it; null where the asker settles it otherwise.
  void fall_back(const std::string& dotted, ConfigTree value);
  /// `root` with every such value in its place. What stands inside lists stays as it is written.
  ConfigTree complete(ConfigTree root) const;

 private:
  void sort(ConfigTree& map, const std::string& path) const;

  std::map<std::string, size_t> order_;
  std::map<std::string, ConfigTree> fallbacks_;
};

ConfigTree scalar_tree(bool value);
ConfigTree scalar_tree(int64_t value);
ConfigTree scalar_tree(double value);
ConfigTree scalar_tree(const std::string& value);

}  // namespace striate
