#include "engine/config_tree.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <map>

#include "kernels/error.h"

namespace striate {
namespace {

// Aliases can make a short text endless (an anchor inside itself, or doubling): no configuration comes near these.
constexpr int kMaxDepth = 64;
constexpr int64_t kMaxValues = 100000;

std::string at(const std::string& source, const YAML::Mark& mark) {
  return mark.line < 0 ? source : fmt::format("{}:{}", source, mark.line + 1);
}

class TreeBuilder {
 public:
  explicit TreeBuilder(std::string source) : source_(std::move(source)) {}

  ConfigTree build(const YAML::Node& node, const std::string& path, int depth) {
    require<ConfigError>(depth < kMaxDepth && ++values_ < kMaxValues,
                         "{}: {}: nested or aliased too deeply for a configuration", at(source_, node.Mark()), path);
    ConfigTree tree;
    tree.source = source_;
    tree.line = node.Mark().line + 1;
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        tree.kind = ConfigTree::Kind::scalar;
        tree.scalar = node.Scalar();
        tree.quoted = node.Tag() == "!";
        break;
      case YAML::NodeType::Sequence:
        tree.kind = ConfigTree::Kind::list;
        for (const auto& item : node) {
          tree.items.push_back(build(item, fmt::format("{}[{}]", path, tree.items.size()), depth + 1));
        }
        break;
      case YAML::NodeType::Map:
        tree.kind = ConfigTree::Kind::map;
        build_map(node, path, depth, tree);
        break;
    }
    return tree;
  }

 private:
  void build_map(const YAML::Node& node, const std::string& path, int depth, ConfigTree& tree) {
    std::map<std::string, int> first_line;
    for (const auto& entry : node) {
      require<ConfigError>(entry.first.IsScalar(), "{}: {}a key must be a plain word", at(source_, entry.first.Mark()),
                           path.empty() ? "" : path + ": ");
      const std::string& key = entry.first.Scalar();
      const std::string below = path.empty() ? key : path + "." + key;
      const int line = entry.first.Mark().line + 1;
      const auto [first, is_new] = first_line.emplace(key, line);
      require<ConfigError>(is_new, "{}:{}: {}: stands twice, first in line {}; remove one", source_, line, below,
                           first->second);
      tree.entries.emplace_back(key, build(entry.second, below, depth + 1));
      tree.entries.back().second.line = line;
    }
  }

  std::string source_;
  int64_t values_ = 0;
};

void emit(YAML::Emitter& out, const ConfigTree& tree) {
  switch (tree.kind) {
    case ConfigTree::Kind::null:
      out << YAML::Null;
      break;
    case ConfigTree::Kind::scalar:
      if (tree.quoted) out << YAML::DoubleQuoted;
      out << tree.scalar;
      break;
    case ConfigTree::Kind::list:
      // A list of plain values stays on its line: [0.9, 0.999].
      if (std::all_of(tree.items.begin(), tree.items.end(),
                      [](const ConfigTree& item) { return item.kind == ConfigTree::Kind::scalar; })) {
        out << YAML::Flow;
      }
      out << YAML::BeginSeq;
      for (const ConfigTree& item : tree.items) emit(out, item);
      out << YAML::EndSeq;
      break;
    case ConfigTree::Kind::map:
      out << YAML::BeginMap;
      for (const auto& [key, value] : tree.entries) {
        out << YAML::Key << key << YAML::Value;
        emit(out, value);
      }
      out << YAML::EndMap;
      break;
  }
}

}  // namespace

const ConfigTree* ConfigTree::find(const std::string& key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

ConfigTree* ConfigTree::find(const std::string& key) { return const_cast<ConfigTree*>(std::as_const(*this).find(key)); }

void ConfigTree::erase(const std::string& key) {
  entries.erase(
      std::remove_if(entries.begin(), entries.end(), [&key](const auto& entry) { return entry.first == key; }),
      entries.end());
}

std::string ConfigTree::origin() const { return line > 0 ? fmt::format("{}:{}", source, line) : source; }

std::string ConfigTree::what_it_is() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::scalar:
      return quoted ? fmt::format("the text \"{}\"", scalar) : fmt::format("'{}'", scalar);
    case Kind::list:
      return "a list";
    case Kind::map:
      return "a map";
  }
  return "";
}

ConfigTree parse_config_tree(const std::string& text, const std::string& source) {
  std::vector<YAML::Node> documents;
  try {
    documents = YAML::LoadAll(text);
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("{}: not valid YAML: {}", at(source, error.mark), error.msg));
  }
  require<ConfigError>(documents.size() <= 1, "{}: expected one YAML document, found {}", source, documents.size());
  if (documents.empty()) {
    ConfigTree nothing;
    nothing.source = source;
    return nothing;
  }
  return TreeBuilder(source).build(documents[0], "", 0);
}

void merge(ConfigTree& under, ConfigTree over) {
  if (under.kind != ConfigTree::Kind::map || over.kind != ConfigTree::Kind::map) {
    under = std::move(over);
    return;
  }
  for (auto& [key, value] : over.entries) {
    ConfigTree* below = under.find(key);
    if (below == nullptr) {
      under.entries.emplace_back(key, std::move(value));
    } else if (value.kind == ConfigTree::Kind::null) {
      under.erase(key);
    } else {
      merge(*below, std::move(value));
    }
  }
  under.source = over.source;
  under.line = over.line;
}

std::string to_yaml(const ConfigTree& tree) {
  YAML::Emitter out;
  emit(out, tree);
  return std::string(out.c_str()) + "\n";
}

YAML::Node to_node(const ConfigTree& tree) {
  YAML::Node node;
  switch (tree.kind) {
    case ConfigTree::Kind::null:
      break;
    case ConfigTree::Kind::scalar:
      node = tree.scalar;
      if (tree.quoted) node.SetTag("!");
      break;
    case ConfigTree::Kind::list:
      node = YAML::Node(YAML::NodeType::Sequence);
      for (const ConfigTree& item : tree.items) node.push_back(to_node(item));
      break;
    case ConfigTree::Kind::map:
      node = YAML::Node(YAML::NodeType::Map);
      for (const auto& [key, value] : tree.entries) node[key] = to_node(value);
      break;
  }
  return node;
}

}  // namespace striate
