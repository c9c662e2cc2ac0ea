#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "engine/train/stored_type.h"

namespace striate::models::pickle {

/// A name that a pickle may use, and what it stands for.
struct Global {
  enum class Kind { ordered_dict, rebuild_tensor, rebuild_parameter, storage_type };
  const char* module;
  const char* name;
  Kind kind;
  StoredType type = StoredType::float32;  ///< of a storage_type
};

struct Value;
struct None {};
/// A tuple or a list.
struct Sequence {
  std::vector<const Value*> items;
};
struct Dict {
  std::vector<std::pair<const Value*, const Value*>> items;
};
struct Storage {
  StoredType type = StoredType::float32;
  std::string key;
  int64_t elements = 0;
};
struct View {
  const Storage* storage = nullptr;
  int64_t offset = 0;
  Shape shape, strides;
};
struct Value : std::variant<None, bool, int64_t, double, std::string, const Global*, Sequence, Dict, Storage, View> {
  using variant::variant;
};

/// Runs a pickle. All values live as long as the machine, whatever refers to what.
class Machine {
 public:
  Machine(std::string_view program, std::string file) : program_(program), file_(std::move(file)) {}

  /// What the pickle holds. Throws IoError, with file and byte, for whatever a state dict does not contain.
  const Value& run();

 private:
  void execute(uint8_t opcode);
  void find_global(const std::string& module, const std::string& name);
  void reduce();
  void build();
  void persistent_id();
  View rebuild_tensor(const Sequence& arguments);
  Shape sizes(const Value& value, const char* what);
  void append(size_t first);
  void set_items(size_t first);

  std::string_view take(uint64_t count);
  std::string_view take_line();
  uint64_t take_unsigned(int bytes);
  int64_t take_long(uint64_t bytes);

  template <typename T>
  void push(T&& value);
  const Value* pop();
  size_t pop_mark();
  void make_sequence(size_t count);
  void remember(uint64_t index);
  void recall(uint64_t index);
  template <typename T>
  const T& expect(const Value* value, const char* what);
  [[noreturn]] void fail(const std::string& what) const;

  std::string_view program_;
  std::string file_;
  size_t position_ = 0, opcode_position_ = 0;
  std::deque<Value> values_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Value*> memo_;
};

}  // namespace striate::models::pickle
