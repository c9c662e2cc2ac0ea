#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace YAML {
class Node;
}

namespace striate {

/// The first candidate that begins with `word`, else that with the smallest edit distance; empty when there are none or
/// nothing is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// A map of a YAML file, read strictly: each key is asked for by name and type, and finish() makes the rest an error
/// that names the nearest key. Errors are ConfigError and say the file, the line and the dotted key.
class ConfigReader {
 public:
  /// Reads `file`, on top of the file its `base` names (relative to it; circles are an error), then applies the
  /// overrides "a.b=value", value in YAML. An empty `file` starts from nothing. A file's maps are merged into its
  /// base's key by key, lists and scalars replace, and null removes; an override replaces maps too. Paths that the
  /// files hold for others (data.path) stay as they are written.
  static ConfigReader load(const std::string& file, const std::vector<std::string>& overrides = {});
  /// From YAML text, for tests and built-in configurations.
  static ConfigReader parse(const std::string& text);

  ConfigReader(const ConfigReader&);
  ConfigReader(ConfigReader&&) noexcept;
  ConfigReader& operator=(ConfigReader&&) noexcept;
  ~ConfigReader();

  bool has(const std::string& key) const;
  bool is_map(const std::string& key) const;  ///< false where absent
  /// Each returns `fallback` where the key is absent or null, and throws where the value is of another type. What
  /// stands in quotes is text only.
  bool get(const std::string& key, bool fallback);
  int64_t get(const std::string& key, int64_t fallback);
  int64_t get(const std::string& key, int fallback) { return get(key, static_cast<int64_t>(fallback)); }
  double get(const std::string& key, double fallback);
  std::string get(const std::string& key, const std::string& fallback);
  std::string get(const std::string& key, const char* fallback) { return get(key, std::string(fallback)); }
  std::string require_string(const std::string& key);
  /// A list of numbers; a single number is a list of one.
  std::vector<double> get_numbers(const std::string& key, const std::vector<double>& fallback = {});
  /// One of `choices`; the error names the nearest.
  std::string choice(const std::string& key, const std::string& fallback, const std::vector<std::string>& choices);
  /// The map below a key (empty where absent). Its own finish() must be called too.
  ConfigReader section(const std::string& key);
  /// A map {option: value} from `key: value`, for values with a short form: `dropout: 0.5` for `dropout: {p: 0.5}`.
  ConfigReader short_form(const std::string& key, const std::string& option);
  /// The items of a list below a key, each as a reader: a map stays one, a bare word `name` becomes {name: null}.
  std::vector<ConfigReader> list(const std::string& key);
  /// Whether a key is there, for one whose absence means what others settle: the completed text has it empty then.
  bool given(const std::string& key);
  /// The keys of this map in order.
  std::vector<std::string> keys() const;
  /// The raw node of a key, marked as read; undefined where absent. For shapes that the calls above do not cover.
  YAML::Node node(const std::string& key);

  /// Throws ConfigError for the first key that nobody asked for, with the nearest that was asked for.
  void finish() const;
  /// "file.yaml:12: train.batch_size", for error messages of whoever checks the value; "" names the map itself.
  std::string where(const std::string& key) const;
  /// The whole map as YAML text, bases and overrides resolved.
  std::string text() const;
  /// The whole configuration, asked of the reader that load() or parse() gave, with every key that was asked for so far
  /// through any section: what was absent stands at the fallback that was returned.
  std::string completed_text() const;

 private:
  struct State;
  explicit ConfigReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace striate
