// The opcodes that torch.save writes for a state dict, by the comments of CPython's Lib/pickletools.py. Every one of
// them takes at least a byte of the pickle and makes at most one small value, so that memory is bounded by the pickle.

#include "models/weights/pickle_machine.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/error.h"

namespace striate::models::pickle {
namespace {

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kNone = 'N',
  kTrue = 0x88,
  kFalse = 0x89,
  kInt4 = 'J',
  kInt1 = 'K',
  kInt2 = 'M',
  kLong1 = 0x8a,
  kFloat = 'G',
  kText = 'X',
  kShortText = 0x8c,
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kEmptyList = ']',
  kAppend = 'a',
  kAppends = 'e',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kPut = 'q',
  kLongPut = 'r',
  kMemoize = 0x94,
  kGet = 'h',
  kLongGet = 'j',
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kReduce = 'R',
  kBuild = 'b',
  kPersistentId = 'Q',
  kProtocol = 0x80,
  kFrame = 0x95,
};

using Kind = Global::Kind;
constexpr std::array<Global, 11> kGlobals{{
    {"collections", "OrderedDict", Kind::ordered_dict},
    {"torch._utils", "_rebuild_tensor_v2", Kind::rebuild_tensor},
    {"torch._utils", "_rebuild_parameter", Kind::rebuild_parameter},
    {"torch", "FloatStorage", Kind::storage_type, StoredType::float32},
    {"torch", "DoubleStorage", Kind::storage_type, StoredType::float64},
    {"torch", "HalfStorage", Kind::storage_type, StoredType::float16},
    {"torch", "BFloat16Storage", Kind::storage_type, StoredType::bfloat16},
    {"torch", "LongStorage", Kind::storage_type, StoredType::int64},
    {"torch", "IntStorage", Kind::storage_type, StoredType::int32},
    {"torch", "ByteStorage", Kind::storage_type, StoredType::uint8},
    {"torch", "BoolStorage", Kind::storage_type, StoredType::uint8},
}};

/// A file's text in a message: no control characters, not endless.
std::string shown(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string result;
  for (const char c : text.substr(0, kLongest)) result += c >= ' ' && c < 0x7f ? c : '?';
  return text.size() > kLongest ? result + "…" : result;
}

}  // namespace

const Value& Machine::run() {
  while (true) {
    opcode_position_ = position_;
    const auto opcode = static_cast<uint8_t>(take(1)[0]);
    if (opcode == kStop) return *pop();
    execute(opcode);
  }
}

void Machine::execute(uint8_t opcode) {
  switch (opcode) {
    case kProtocol:
      take(1);
      return;
    case kFrame:
      take(8);
      return;
    case kMark:
      return marks_.push_back(stack_.size());
    case kNone:
      return push(None{});
    case kTrue:
      return push(true);
    case kFalse:
      return push(false);
    case kInt1:
      return push(static_cast<int64_t>(take_unsigned(1)));
    case kInt2:
      return push(static_cast<int64_t>(take_unsigned(2)));
    case kInt4:
      return push(int64_t{static_cast<int32_t>(take_unsigned(4))});
    case kLong1:
      return push(take_long(take_unsigned(1)));
    case kFloat: {
      uint64_t bits = 0;  // most significant byte first, unlike all others
      for (const char c : take(8)) bits = bits << 8 | static_cast<uint8_t>(c);
      return push(std::bit_cast<double>(bits));
    }
    case kText:
      return push(std::string(take(take_unsigned(4))));
    case kShortText:
      return push(std::string(take(take_unsigned(1))));
    case kEmptyTuple:
    case kEmptyList:
      return push(Sequence{});
    case kTuple1:
      return make_sequence(1);
    case kTuple2:
      return make_sequence(2);
    case kTuple3:
      return make_sequence(3);
    case kTuple: {
      const size_t first = pop_mark();
      return make_sequence(stack_.size() - first);
    }
    case kAppend:
      return append(stack_.empty() ? 0 : stack_.size() - 1);
    case kAppends:
      return append(pop_mark());
    case kEmptyDict:
      return push(Dict{});
    case kSetItem:
      return set_items(stack_.size() < 2 ? 0 : stack_.size() - 2);
    case kSetItems:
      return set_items(pop_mark());
    case kPut:
      return remember(take_unsigned(1));
    case kLongPut:
      return remember(take_unsigned(4));
    case kMemoize:
      return remember(memo_.size());
    case kGet:
      return recall(take_unsigned(1));
    case kLongGet:
      return recall(take_unsigned(4));
    case kGlobal: {
      const std::string module(take_line());
      return find_global(module, std::string(take_line()));
    }
    case kStackGlobal: {
      const auto& name = expect<std::string>(pop(), "a name");
      return find_global(expect<std::string>(pop(), "a module's name"), name);
    }
    case kReduce:
      return reduce();
    case kBuild:
      return build();
    case kPersistentId:
      return persistent_id();
    default:
      fail(
          fmt::format("opcode 0x{:02x}, which no state dict needs; the file is damaged, or it would run code", opcode));
  }
}

void Machine::find_global(const std::string& module, const std::string& name) {
  const auto* const known = std::find_if(kGlobals.begin(), kGlobals.end(),
                                         [&](const Global& g) { return module == g.module && name == g.name; });
  if (known == kGlobals.end()) {
    fail(
        fmt::format("wants {}.{}, and only tensors are read: nothing was run. Save the tensors alone, with "
                    "torch.save(model.state_dict(), FILE)",
                    shown(module), shown(name)));
  }
  push(static_cast<const Global*>(&*known));
}

void Machine::reduce() {
  const auto& arguments = expect<Sequence>(pop(), "the arguments of a call");
  const Global* callee = expect<const Global*>(pop(), "something to call");
  switch (callee->kind) {
    case Kind::ordered_dict:
      if (!arguments.items.empty()) fail("an OrderedDict made of arguments, expected an empty one");
      return push(Dict{});
    case Kind::rebuild_tensor:
      return push(rebuild_tensor(arguments));
    case Kind::rebuild_parameter:
      if (arguments.items.size() != 3) fail("a parameter of other than three arguments");
      return push(View(expect<View>(arguments.items[0], "a parameter's tensor")));
    case Kind::storage_type:
      fail(fmt::format("calls {}.{}", callee->module, callee->name));
  }
}

View Machine::rebuild_tensor(const Sequence& arguments) {
  // storage, offset, size, stride, requires_grad, backward_hooks[, metadata]
  const auto& a = arguments.items;
  if (a.size() != 6 && a.size() != 7) fail(fmt::format("a tensor of {} arguments, expected 6", a.size()));
  if (a.size() == 7) {
    const auto* metadata = std::get_if<Dict>(a[6]);
    if (metadata == nullptr || !metadata->items.empty()) fail("a conjugate or negated view; save a copy of it");
  }
  View view;
  view.storage = &expect<Storage>(a[0], "a tensor's storage");
  view.offset = expect<int64_t>(a[1], "a tensor's offset");
  view.shape = sizes(*a[2], "a tensor's size");
  view.strides = sizes(*a[3], "a tensor's strides");
  if (view.shape.size() != view.strides.size()) {
    fail(fmt::format("a tensor of shape {} with strides {}", to_string(view.shape), to_string(view.strides)));
  }
  int64_t count = 1, last = view.offset;
  bool fits = view.offset >= 0 && view.offset <= view.storage->elements;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    int64_t step = 0;
    fits = fits && !__builtin_mul_overflow(count, view.shape[i], &count) &&
           !__builtin_mul_overflow(std::max<int64_t>(view.shape[i] - 1, 0), view.strides[i], &step) &&
           !__builtin_add_overflow(last, step, &last);
  }
  // A view with stride 0 could claim any size; state dicts hold none.
  if (!fits || count > view.storage->elements || (count > 0 && last >= view.storage->elements)) {
    fail(fmt::format("a tensor of shape {}, strides {} and offset {} in a storage of {} values", to_string(view.shape),
                     to_string(view.strides), view.offset, view.storage->elements));
  }
  return view;
}

Shape Machine::sizes(const Value& value, const char* what) {
  Shape result;
  for (const Value* item : expect<Sequence>(&value, what).items) {
    result.push_back(expect<int64_t>(item, what));
    if (result.back() < 0) fail(fmt::format("{} with {} in it", what, result.back()));
  }
  return result;
}

void Machine::build() {
  // Attributes: a state dict's _metadata holds version numbers of modules.
  pop();
  if (stack_.empty() || !std::holds_alternative<Dict>(*stack_.back()))
    fail("attributes for something else than a dict");
}

void Machine::persistent_id() {
  // ("storage", type, key, device, elements)
  const auto& id = expect<Sequence>(pop(), "a storage's identity").items;
  if (id.size() != 5 || expect<std::string>(id[0], "a storage's identity") != "storage") {
    fail("an object outside the pickle that is no storage");
  }
  const Global* type = expect<const Global*>(id[1], "a storage's type");
  if (type->kind != Kind::storage_type) fail(fmt::format("a storage of type {}.{}", type->module, type->name));
  Storage storage{type->type, expect<std::string>(id[2], "a storage's key"),
                  expect<int64_t>(id[4], "a storage's size")};
  if (storage.elements < 0) fail(fmt::format("a storage of {} values", storage.elements));
  push(std::move(storage));
}

void Machine::append(size_t first) {
  if (first == 0 || first > stack_.size()) fail("items for no list");
  auto* list = std::get_if<Sequence>(stack_[first - 1]);
  if (list == nullptr) fail("items for something else than a list");
  list->items.insert(list->items.end(), stack_.begin() + static_cast<ptrdiff_t>(first), stack_.end());
  stack_.resize(first);
}

void Machine::set_items(size_t first) {
  if (first == 0 || first > stack_.size() || (stack_.size() - first) % 2 != 0) fail("items for no dict");
  auto* dict = std::get_if<Dict>(stack_[first - 1]);
  if (dict == nullptr) fail("items for something else than a dict");
  for (size_t i = first; i < stack_.size(); i += 2) dict->items.emplace_back(stack_[i], stack_[i + 1]);
  stack_.resize(first);
}

std::string_view Machine::take(uint64_t count) {
  if (count > program_.size() - position_) fail("the pickle ends in the middle; the file is damaged");
  const std::string_view bytes = program_.substr(position_, count);
  position_ += count;
  return bytes;
}

std::string_view Machine::take_line() {
  const size_t end = program_.find('\n', position_);
  if (end == std::string_view::npos) fail("the pickle ends in the middle; the file is damaged");
  const std::string_view line = program_.substr(position_, end - position_);
  position_ = end + 1;
  return line;
}

uint64_t Machine::take_unsigned(int bytes) {
  const std::string_view taken = take(static_cast<uint64_t>(bytes));
  uint64_t value = 0;
  for (size_t i = taken.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(taken[i]);
  return value;
}

int64_t Machine::take_long(uint64_t bytes) {
  if (bytes > sizeof(int64_t)) fail(fmt::format("a number of {} bytes", bytes));
  if (bytes == 0) return 0;
  const auto shift = static_cast<int>(64 - 8 * bytes);  // the last byte has the sign
  return static_cast<int64_t>(take_unsigned(static_cast<int>(bytes)) << shift) >> shift;
}

template <typename T>
void Machine::push(T&& value) {
  stack_.push_back(&values_.emplace_back(std::forward<T>(value)));
}

const Value* Machine::pop() {
  if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size())) fail("a value too few");
  const Value* value = stack_.back();
  stack_.pop_back();
  return value;
}

size_t Machine::pop_mark() {
  if (marks_.empty() || marks_.back() > stack_.size()) fail("a mark too few");
  const size_t mark = marks_.back();
  marks_.pop_back();
  return mark;
}

void Machine::make_sequence(size_t count) {
  if (count > stack_.size()) fail("a value too few");
  Sequence sequence;
  sequence.items.assign(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  push(std::move(sequence));
}

void Machine::remember(uint64_t index) {
  if (stack_.empty()) fail("nothing to remember");
  memo_[index] = stack_.back();
}

void Machine::recall(uint64_t index) {
  const auto it = memo_.find(index);
  if (it == memo_.end()) fail(fmt::format("value {} is recalled, but was never remembered", index));
  stack_.push_back(it->second);
}

template <typename T>
const T& Machine::expect(const Value* value, const char* what) {
  const T* found = std::get_if<T>(value);
  if (found == nullptr) fail(fmt::format("{} is of another kind", what));
  return *found;
}

void Machine::fail(const std::string& what) const {
  throw IoError(fmt::format("{}: data.pkl, byte {}: {}", file_, opcode_position_, what));
}

}  // namespace striate::models::pickle
