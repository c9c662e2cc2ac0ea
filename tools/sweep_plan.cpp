#include "tools/sweep_plan.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <set>
#include <utility>

#include "kernels/error.h"

namespace striate {
namespace {

std::string flow_text(const YAML::Node& node) {
  YAML::Emitter emitter;
  emitter.SetMapFormat(YAML::Flow);
  emitter.SetSeqFormat(YAML::Flow);
  // What stands in quotes is text, whatever it looks like.
  if (node.IsScalar() && node.Tag() == "!") emitter.SetStringFormat(YAML::DoubleQuoted);
  emitter << node;
  std::string text = emitter.c_str();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// The part of a key after its last dot, or before a last ".name"; the key itself where another ends alike.
std::string short_key(const std::string& key, const std::vector<VariedKey>& keys) {
  const auto last = [](std::string k) {
    if (k.ends_with(".name")) k.resize(k.size() - 5);
    return k.substr(k.rfind('.') + 1);
  };
  const auto alike =
      std::count_if(keys.begin(), keys.end(), [&](const VariedKey& k) { return last(k.key) == last(key); });
  return alike > 1 ? key : last(key);
}

/// FNV-1a, for names of values that are too long or too odd to be one themselves.
uint32_t hash_of(const std::string& text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

/// Letters, digits and ".=_+-" alone. Whatever else it held, or what made it too long, leaves a number that tells it
/// from others.
std::string folder_name(const std::string& text) {
  constexpr size_t kLongest = 100;
  std::string name;
  bool changed = false;
  for (const char c : text) {
    const bool harmless =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string(".=_+-").find(c) != std::string::npos;
    if (harmless) {
      name += c;
    } else {
      changed = true;
      if (!name.empty() && name.back() != '_') name += '_';
    }
  }
  if (name.size() > kLongest) {
    name.resize(kLongest);
    changed = true;
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  return changed ? fmt::format("{}_{:08x}", name, hash_of(text)) : name;
}

}  // namespace

VariedKey VariedKey::parse(const std::string& text) {
  const size_t equals = text.find('=');
  require<ConfigError>(equals != std::string::npos && equals > 0,
                       "--vary {}: expected KEY=VALUE,VALUE,… as in train.learning_rate=0.1,0.01", text);
  VariedKey varied;
  varied.key = text.substr(0, equals);
  const std::string values = text.substr(equals + 1);
  YAML::Node list;
  try {
    list = YAML::Load("[" + values + "\n]");
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("--vary {}: the values are not YAML: {}", text, error.msg));
  }
  if (list.size() == 1 && list[0].IsSequence()) list.reset(YAML::Node(list[0]));
  require<ConfigError>(list.size() > 0, "--vary {}: there is no value", text);
  std::set<std::string> seen;
  for (const YAML::Node& value : list) {
    varied.values.push_back(flow_text(value));
    require<ConfigError>(seen.insert(varied.values.back()).second, "--vary {}: {} is there twice", text,
                         varied.values.back());
  }
  return varied;
}

std::vector<std::string> SweepRun::overrides() const {
  std::vector<std::string> all;
  for (const auto& [key, value] : settings) all.push_back(key + "=" + value);
  return all;
}

std::vector<SweepRun> plan_sweep(const std::vector<VariedKey>& keys) {
  require<ConfigError>(!keys.empty(), "--vary KEY=VALUE,VALUE,… is missing: nothing varies");
  std::set<std::string> seen;
  for (const VariedKey& varied : keys) {
    require<ConfigError>(seen.insert(varied.key).second,
                         "--vary {}: the key is given twice; list all its values in one", varied.key);
  }
  std::vector<SweepRun> runs(1);
  for (const VariedKey& varied : keys) {
    const std::string name = short_key(varied.key, keys);
    std::vector<SweepRun> longer;
    for (const SweepRun& run : runs) {
      for (const std::string& value : varied.values) {
        SweepRun& next = longer.emplace_back(run);
        next.folder += fmt::format("{}{}={}", run.folder.empty() ? "" : "_", name, value);
        next.title += fmt::format("{}{} {}", run.title.empty() ? "" : ", ", name, value);
        next.settings.emplace_back(varied.key, value);
      }
    }
    runs = std::move(longer);
  }
  for (SweepRun& run : runs) run.folder = folder_name(run.folder);
  return runs;
}

}  // namespace striate
