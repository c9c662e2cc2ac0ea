#include "engine/config_tree.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <sstream>

#include "kernels/error.h"

namespace striate {
namespace {

// Aliases can make a short text endless (an anchor inside itself, or doubling): no configuration comes near these.
constexpr size_t kMaxDepth = 64;
constexpr int64_t kMaxValues = 20000;

std::string at(const std::string& source, const YAML::Mark& mark) {
  return mark.line < 0 ? source : fmt::format("{}:{}", source, mark.line + 1);
}

int64_t count_values(const ConfigTree& tree) {
  int64_t count = 1;
  for (const ConfigTree& item : tree.items) count += count_values(item);
  for (const auto& [key, value] : tree.entries) count += count_values(value);
  return count;
}

/// Builds a tree from what yaml-cpp's parser reports.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string source) : source_(std::move(source)) {}

  ConfigTree take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    require<ConfigError>(++documents_ == 1, "{}: expected the end of the one YAML document, found more",
                         at(source_, mark));
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { finish(tree_at(mark), anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    require<ConfigError>(found != anchored_.end(), "{}: {}an alias within its own anchor", at(source_, mark), path());
    ConfigTree copy = found->second;
    values_ += count_values(copy);
    copy.line = mark.line + 1;
    finish(std::move(copy), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    ConfigTree tree = tree_at(mark);
    tree.kind = ConfigTree::Kind::scalar;
    tree.scalar = value;
    tree.quoted = tag == "!";
    finish(std::move(tree), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(ConfigTree::Kind::list, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(ConfigTree::Kind::map, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    ConfigTree tree;
    YAML::anchor_t anchor = 0;
    bool has_key = false;  // of a map: the next value is this key's
    std::string key;
    int key_line = 0;
  };

  ConfigTree tree_at(const YAML::Mark& mark) const {
    ConfigTree tree;
    tree.source = source_;
    tree.line = mark.line + 1;
    return tree;
  }

  // "train.optimizer: " of what is being read.
  std::string path() const {
    std::string text;
    for (const Open& open : stack_) {
      if (open.tree.kind == ConfigTree::Kind::list) {
        text += fmt::format("[{}]", open.tree.items.size());
      } else if (open.has_key) {
        text += (text.empty() ? "" : ".") + open.key;
      }
    }
    return text.empty() ? "" : text + ": ";
  }

  void open(ConfigTree::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    stack_.push_back({tree_at(mark), anchor, false, "", 0});
    stack_.back().tree.kind = kind;
    check_size();
  }

  void close() {
    Open done = std::move(stack_.back());
    stack_.pop_back();
    finish(std::move(done.tree), done.anchor);
  }

  void check_size() const {
    require<ConfigError>(stack_.size() < kMaxDepth && values_ < kMaxValues,
                         "{}: {}nested or aliased too deeply for a configuration", source_, path());
  }

  // A whole value: the document, an item, a key, or a key's value.
  void finish(ConfigTree tree, YAML::anchor_t anchor) {
    ++values_;
    check_size();
    if (anchor != 0) anchored_[anchor] = tree;
    if (stack_.empty()) {
      root_ = std::move(tree);
      return;
    }
    Open& parent = stack_.back();
    if (parent.tree.kind == ConfigTree::Kind::list) {
      parent.tree.items.push_back(std::move(tree));
    } else if (!parent.has_key) {
      take_key(parent, tree);
    } else {
      tree.line = parent.key_line;
      parent.tree.entries.push_back({parent.key, std::move(tree)});
      parent.has_key = false;
    }
  }

  void take_key(Open& map, const ConfigTree& key) {
    require<ConfigError>(key.kind == ConfigTree::Kind::scalar, "{}: {}a key must be a plain word", key.origin(),
                         path());
    const ConfigTree* first = map.tree.find(key.scalar);
    map.has_key = true;
    map.key = key.scalar;
    map.key_line = key.line;
    require<ConfigError>(first == nullptr, "{}: {}stands twice, first in line {}; remove one", key.origin(), path(),
                         first != nullptr ? first->line : 0);
  }

  std::string source_;
  ConfigTree root_;
  std::vector<Open> stack_;
  std::map<YAML::anchor_t, ConfigTree> anchored_;
  int documents_ = 0;
  int64_t values_ = 0;
};

// yaml-cpp writes control characters as they are unless it is told to quote, and a carriage return then reads as the
// end of a line.
void emit_text(YAML::Emitter& out, const std::string& text, bool quoted) {
  const bool has_control = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (quoted || has_control) out << YAML::DoubleQuoted;
  out << text;
}

void emit(YAML::Emitter& out, const ConfigTree& tree) {
  switch (tree.kind) {
    case ConfigTree::Kind::null:
      out << YAML::Null;
      break;
    case ConfigTree::Kind::scalar:
      emit_text(out, tree.scalar, tree.quoted);
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
        out << YAML::Key;
        emit_text(out, key, false);
        out << YAML::Value;
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
  entries.erase(std::remove_if(entries.begin(), entries.end(), [&key](const Entry& entry) { return entry.key == key; }),
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
  TreeBuilder builder(source);
  try {
    // Not YAML::LoadAll(): it never returns on texts like ", a".
    std::istringstream in(text);
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::DeepRecursion& error) {
    throw ConfigError(fmt::format("{}: nested too deeply for a configuration", at(source, error.mark)));
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("{}: not valid YAML: {}", at(source, error.mark), error.msg));
  }
  ConfigTree tree = builder.take();
  if (tree.source.empty()) tree.source = source;
  return tree;
}

void merge(ConfigTree& under, ConfigTree over) {
  if (under.kind != ConfigTree::Kind::map || over.kind != ConfigTree::Kind::map) {
    under = std::move(over);
    return;
  }
  for (auto& [key, value] : over.entries) {
    ConfigTree* below = under.find(key);
    if (below == nullptr) {
      under.entries.push_back({key, std::move(value)});
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
