#include "engine/config.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "engine/config_completion.h"
#include "engine/config_tree.h"
#include "kernels/error.h"

namespace striate {
namespace {

using Kind = ConfigTree::Kind;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = lower(c);
  return out;
}

// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each cost 1.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  if (!near.empty()) return fmt::format("did you mean '{}'?", near);
  if (candidates.empty()) return "nothing may stand here";
  return fmt::format("known: {}", fmt::join(candidates, ", "));
}

std::string read_file(const std::string& file, const std::string& asked_by) {
  std::error_code ignored;
  require<ConfigError>(std::filesystem::exists(file, ignored), "{}no configuration file '{}'", asked_by, file);
  require<ConfigError>(!std::filesystem::is_directory(file, ignored), "{}'{}' is a folder; expected a YAML file",
                       asked_by, file);
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  require<ConfigError>(in.good() || in.eof(), "{}cannot read '{}'", asked_by, file);
  return text;
}

void require_map(ConfigTree& root) {
  require<ConfigError>(root.kind == Kind::map || root.kind == Kind::null, "{}: expected a map of keys, found {}",
                       root.origin(), root.what_it_is());
  root.kind = Kind::map;
  root.line = 0;
}

// `chain` holds the files that led here, each the base of the one before.
ConfigTree load_with_bases(const std::string& file, const std::string& asked_by, std::vector<std::string> chain) {
  const std::string text = read_file(file, asked_by);
  const std::string identity = std::filesystem::canonical(file).string();
  const bool is_circle = std::find(chain.begin(), chain.end(), identity) != chain.end();
  chain.push_back(identity);
  require<ConfigError>(!is_circle, "{}the bases go round in a circle: {}", asked_by, fmt::join(chain, " → "));

  ConfigTree tree = parse_config_tree(text, file);
  require_map(tree);
  const ConfigTree* base = tree.find("base");
  if (base == nullptr) return tree;
  const std::string base_at = base->origin() + ": base: ";
  const bool is_path = base->kind == Kind::scalar && !base->scalar.empty();
  require<ConfigError>(is_path || base->kind == Kind::null, "{}expected the path of a YAML file, found {}", base_at,
                       base->what_it_is());
  const std::string path = base->scalar;
  tree.erase("base");
  if (!is_path) return tree;
  const auto base_file = (std::filesystem::path(file).parent_path() / path).lexically_normal();
  ConfigTree merged = load_with_bases(base_file.string(), base_at, std::move(chain));
  merge(merged, std::move(tree));
  return merged;
}

// "a.b.c=value" sets the value of a key, whatever stood there; maps on the way are made. A null removes the key.
void apply_override(ConfigTree& root, const std::string& text) {
  const size_t equals = text.find('=');
  require<ConfigError>(equals != std::string::npos && equals > 0, "--set '{}': expected KEY=VALUE, like train.epochs=5",
                       text);
  const std::string dotted = text.substr(0, equals);
  require<ConfigError>(dotted != "base", "--set base: a base can only be named in a file");
  ConfigTree value = parse_config_tree(text.substr(equals + 1), fmt::format("--set {}", text));
  value.source = "--set";
  value.line = 0;

  ConfigTree* map = &root;
  for (size_t begin = 0;;) {
    const size_t dot = std::min(dotted.find('.', begin), dotted.size());
    const std::string key = dotted.substr(begin, dot - begin);
    require<ConfigError>(!key.empty(), "--set '{}': the key '{}' has an empty part", text, dotted);
    if (dot == dotted.size()) {
      ConfigTree* place = map->find(key);
      if (value.kind == Kind::null) {
        map->erase(key);
      } else if (place != nullptr) {
        *place = std::move(value);
      } else {
        map->entries.push_back({key, std::move(value)});
      }
      return;
    }
    if (map->find(key) == nullptr) {
      map->entries.push_back({key, ConfigTree{}});
      map->entries.back().value.source = "--set";
    }
    map = map->find(key);
    if (map->kind == Kind::null) map->kind = Kind::map;
    require<ConfigError>(map->kind == Kind::map, "--set {}: {} is {}, not a map ({}); set it as a whole", dotted,
                         dotted.substr(0, dot), map->what_it_is(), map->origin());
    begin = dot + 1;
  }
}

template <typename T>
bool parse_number(const std::string& text, T& value) {
  const size_t skip = !text.empty() && text[0] == '+' ? 1 : 0;
  const auto result = std::from_chars(text.data() + skip, text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool parse_number_of(const ConfigTree& tree, double& value) {
  return tree.kind == Kind::scalar && !tree.quoted && parse_number(tree.scalar, value) && std::isfinite(value);
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string wanted = lower(word);
  // What was begun is likelier than what differs little: resnet is resnet18 rather than lenet.
  constexpr size_t kBegun = 3;
  for (const std::string& candidate : candidates) {
    if (wanted.size() >= kBegun && lower(candidate).starts_with(wanted)) return candidate;
  }
  size_t best_distance = (wanted.size() + 2) / 3 + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(wanted, lower(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

struct ConfigReader::State {
  ConfigTree tree;
  std::string path;       // dotted, of this map
  std::string main_file;  // the file load() was asked for
  std::set<std::string> asked{};
  std::shared_ptr<ConfigCompletion> completion = std::make_shared<ConfigCompletion>();  // of the whole configuration

  std::string dotted(const std::string& key) const {
    return path.empty() ? key : key.empty() ? path : path + "." + key;
  }

  // The value of a key, marked as read; null where absent or null.
  const ConfigTree* value(const std::string& key) {
    asked.insert(key);
    completion->ask(dotted(key));
    const ConfigTree* found = tree.find(key);
    return found != nullptr && found->kind != Kind::null ? found : nullptr;
  }

  // The caller returns its fallback: the completed configuration has it.
  template <typename T>
  const T& fall_back(const std::string& key, const T& fallback) const {
    completion->fall_back(dotted(key), scalar_tree(fallback));
    return fallback;
  }

  [[noreturn]] void wrong(const std::string& key, const ConfigTree& found, const std::string& expected) const {
    throw ConfigError(
        fmt::format("{}: {}: expected {}, found {}", found.origin(), dotted(key), expected, found.what_it_is()));
  }

  std::unique_ptr<State> below(ConfigTree subtree, std::string subpath) const {
    return std::make_unique<State>(State{std::move(subtree), std::move(subpath), main_file, {}, completion});
  }
};

ConfigReader::ConfigReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ConfigReader::ConfigReader(const ConfigReader& other) : state_(std::make_unique<State>(*other.state_)) {}
ConfigReader::ConfigReader(ConfigReader&&) noexcept = default;
ConfigReader& ConfigReader::operator=(ConfigReader&&) noexcept = default;
ConfigReader::~ConfigReader() = default;

ConfigReader ConfigReader::load(const std::string& file, const std::vector<std::string>& overrides) {
  ConfigTree tree;
  tree.kind = Kind::map;
  tree.source = "--set";
  if (!file.empty()) tree = load_with_bases(file, "", {});
  for (const std::string& text : overrides) apply_override(tree, text);
  return ConfigReader(std::make_unique<State>(State{std::move(tree), "", file}));
}

ConfigReader ConfigReader::parse(const std::string& text) {
  ConfigTree tree = parse_config_tree(text, "configuration");
  require_map(tree);
  require<ConfigError>(tree.find("base") == nullptr, "configuration: base: only a file can have a base");
  return ConfigReader(std::make_unique<State>(State{std::move(tree), "", "configuration"}));
}

bool ConfigReader::has(const std::string& key) const {
  const ConfigTree* found = state_->tree.find(key);
  return found != nullptr && found->kind != Kind::null;
}

bool ConfigReader::is_map(const std::string& key) const {
  const ConfigTree* found = state_->tree.find(key);
  return found != nullptr && found->kind == Kind::map;
}

bool ConfigReader::given(const std::string& key) {
  const bool is_there = state_->value(key) != nullptr;
  if (!is_there) state_->completion->fall_back(state_->dotted(key), ConfigTree{});
  return is_there;
}

bool ConfigReader::get(const std::string& key, bool fallback) {
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) return state_->fall_back(key, fallback);
  const std::string word = found->kind == Kind::scalar && !found->quoted ? lower(found->scalar) : "";
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  state_->wrong(key, *found, "true or false");
}

int64_t ConfigReader::get(const std::string& key, int64_t fallback) {
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) return state_->fall_back(key, fallback);
  int64_t value = 0;
  const bool is_whole = found->kind == Kind::scalar && !found->quoted && parse_number(found->scalar, value);
  if (!is_whole) state_->wrong(key, *found, "a whole number");
  return value;
}

double ConfigReader::get(const std::string& key, double fallback) {
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) return state_->fall_back(key, fallback);
  double value = 0.0;
  if (!parse_number_of(*found, value)) state_->wrong(key, *found, "a number");
  return value;
}

std::string ConfigReader::get(const std::string& key, const std::string& fallback) {
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) return state_->fall_back(key, fallback);
  if (found->kind != Kind::scalar) state_->wrong(key, *found, "text");
  return found->scalar;
}

std::string ConfigReader::require_string(const std::string& key) {
  require<ConfigError>(state_->value(key) != nullptr, "{} must be given", where(key));
  return get(key, "");
}

std::vector<double> ConfigReader::get_numbers(const std::string& key, const std::vector<double>& fallback) {
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) {
    ConfigTree list;
    list.kind = Kind::list;
    for (const double number : fallback) list.items.push_back(scalar_tree(number));
    state_->completion->fall_back(state_->dotted(key), std::move(list));
    return fallback;
  }
  std::vector<double> values;
  double value = 0.0;
  if (parse_number_of(*found, value)) return {value};
  if (found->kind != Kind::list) state_->wrong(key, *found, "a number or a list of numbers");
  for (size_t i = 0; i < found->items.size(); ++i) {
    if (!parse_number_of(found->items[i], value)) {
      state_->wrong(fmt::format("{}[{}]", key, i), found->items[i], "a number");
    }
    values.push_back(value);
  }
  return values;
}

std::string ConfigReader::choice(const std::string& key, const std::string& fallback,
                                 const std::vector<std::string>& choices) {
  const std::string word = get(key, fallback);
  const bool is_known = std::find(choices.begin(), choices.end(), word) != choices.end();
  // A fallback that is no choice stands for "not chosen".
  if (!is_known && state_->value(key) == nullptr) state_->completion->fall_back(state_->dotted(key), ConfigTree{});
  const std::string near = nearest(word, choices);
  require<ConfigError>(is_known || state_->value(key) == nullptr, "{}: expected one of {}, found '{}'{}", where(key),
                       fmt::join(choices, " | "), word, near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  return word;
}

ConfigReader ConfigReader::section(const std::string& key) {
  ConfigTree subtree;
  if (const ConfigTree* found = state_->value(key)) {
    if (found->kind != Kind::map) state_->wrong(key, *found, "a map of keys");
    subtree = *found;
  } else {
    subtree.kind = Kind::map;
    subtree.source = state_->tree.source;
    subtree.line = state_->tree.line;
  }
  return ConfigReader(state_->below(std::move(subtree), state_->dotted(key)));
}

ConfigReader ConfigReader::short_form(const std::string& key, const std::string& option) {
  ConfigTree map;
  map.kind = Kind::map;
  map.source = state_->tree.source;
  map.line = state_->tree.line;
  if (const ConfigTree* found = state_->value(key)) map.entries.push_back({option, *found});
  return ConfigReader(state_->below(std::move(map), state_->dotted(key)));
}

std::vector<ConfigReader> ConfigReader::list(const std::string& key) {
  std::vector<ConfigReader> readers;
  const ConfigTree* found = state_->value(key);
  if (found == nullptr) {
    ConfigTree nothing;
    nothing.kind = Kind::list;
    state_->completion->fall_back(state_->dotted(key), std::move(nothing));
    return readers;
  }
  if (found->kind != Kind::list) state_->wrong(key, *found, "a list");
  for (size_t i = 0; i < found->items.size(); ++i) {
    const ConfigTree& item = found->items[i];
    const std::string item_key = fmt::format("{}[{}]", key, i);
    ConfigTree map = item;
    if (item.kind == Kind::scalar) {
      map = ConfigTree{};
      map.kind = Kind::map;
      map.source = item.source;
      map.line = item.line;
      ConfigTree nothing;
      nothing.source = item.source;
      nothing.line = item.line;
      map.entries.push_back({item.scalar, std::move(nothing)});
    } else if (item.kind != Kind::map) {
      state_->wrong(item_key, item, "a name or a map");
    }
    readers.push_back(ConfigReader(state_->below(std::move(map), state_->dotted(item_key))));
  }
  return readers;
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : state_->tree.entries) names.push_back(key);
  return names;
}

YAML::Node ConfigReader::node(const std::string& key) {
  const ConfigTree* found = state_->value(key);
  return found == nullptr ? YAML::Node(YAML::NodeType::Undefined) : to_node(*found);
}

void ConfigReader::finish() const {
  for (const auto& [key, value] : state_->tree.entries) {
    if (state_->asked.count(key) > 0) continue;
    const std::vector<std::string> known(state_->asked.begin(), state_->asked.end());
    const bool is_inherited = value.line > 0 && value.source != state_->main_file;
    throw ConfigError(fmt::format("{}: unknown key; {}{}", where(key), did_you_mean(key, known),
                                  is_inherited ? fmt::format(" (inherited; '{}: ~' removes it)", key) : ""));
  }
}

std::string ConfigReader::where(const std::string& key) const {
  const ConfigTree* found = state_->tree.find(key);
  const std::string origin = found != nullptr ? found->origin() : state_->tree.origin();
  return fmt::format("{}: {}", origin, state_->dotted(key));
}

std::string ConfigReader::text() const { return to_yaml(state_->tree); }

std::string ConfigReader::completed_text() const { return to_yaml(state_->completion->complete(state_->tree)); }

}  // namespace striate
