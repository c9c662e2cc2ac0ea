#pragma once

#include <string>
#include <utility>
#include <vector>

namespace striate {

/// One `--vary key=v1,v2,…`: a key of the configuration and its values as YAML.
struct VariedKey {
  std::string key;
  std::vector<std::string> values;

  /// Values are separated by commas outside brackets and quotes; a single value that is a list stands for its items, so
  /// that a value may be a list itself: "k=[[a], [b, c]]" has the values [a] and [b, c]. Throws ConfigError for what is
  /// no key=values, no YAML, and for a value that is there twice.
  static VariedKey parse(const std::string& text);
};

/// A run of a sweep: a value for each key.
struct SweepRun {
  std::string folder;  ///< its name in the sweep's folder, of harmless characters
  std::string title;   ///< "learning_rate 0.1, batch_size 32"
  std::vector<std::pair<std::string, std::string>> settings;  ///< key and value, in the order of the keys

  /// "key=value" each, for --set.
  std::vector<std::string> overrides() const;
};

/// Every combination, the last key's values changing fastest. A run's folder hangs on its settings alone, not on which
/// other runs there are. Throws ConfigError for no key and for one that is given twice.
std::vector<SweepRun> plan_sweep(const std::vector<VariedKey>& keys);

}  // namespace striate
