#pragma once

#include <string>
#include <vector>

namespace YAML {
class Node;
}

namespace striate {

/// A value of a YAML file that remembers where it was written, through bases and overrides. Unlike a YAML::Node it
/// is a value: a copy shares nothing, aliases are expanded.
struct ConfigTree {
  enum class Kind { null, scalar, list, map };
  struct Entry;  ///< of a map

  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;  ///< '10' or "10": text, never a number
  std::vector<ConfigTree> items;
  std::vector<Entry> entries;  ///< in order of writing
  std::string source;          ///< file, or "--set"
  int line = 0;                ///< from 1; 0: unknown

  const ConfigTree* find(const std::string& key) const;
  ConfigTree* find(const std::string& key);
  void erase(const std::string& key);
  std::string origin() const;      ///< "file.yaml:12"
  std::string what_it_is() const;  ///< "the text 'ten'", "a list", for messages
};

struct ConfigTree::Entry {
  std::string key;
  ConfigTree value;
};

/// The one document of a YAML text; `source` names it in errors. Throws ConfigError for broken YAML, duplicate keys,
/// keys that are not plain words, and texts that aliases make endless.
ConfigTree parse_config_tree(const std::string& text, const std::string& source);

/// Lays `over` onto `under`: maps key by key, everything else replaced; a null removes the key below it.
void merge(ConfigTree& under, ConfigTree over);

std::string to_yaml(const ConfigTree& tree);
YAML::Node to_node(const ConfigTree& tree);

}  // namespace striate
