#include "data/datasets/imagenet/mat_file.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>

#include "kernels/error.h"

// "MAT-File Format", The MathWorks: level 5. A file is 128 bytes and then data elements, each a tag (type, bytes) and
// its data, padded to 8 bytes; a matrix is an element made of elements.

namespace striate {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kHeaderBytes = 128;
constexpr uint64_t kMostBytes = uint64_t{64} << 20;  // ImageNet's has about 1 MB unpacked
constexpr size_t kMostFields = 4096;

enum class Type : uint32_t {
  int8 = 1,
  uint8 = 2,
  int16 = 3,
  uint16 = 4,
  int32 = 5,
  uint32 = 6,
  float32 = 7,
  float64 = 9,
  int64 = 12,
  uint64 = 13,
  matrix = 14,
  compressed = 15,
  utf8 = 16,
  utf16 = 17,
};

// Classes of matrices.
constexpr uint32_t kStruct = 2, kChar = 4, kFirstNumeric = 6, kLastNumeric = 15;

struct Element {
  Type type{};
  Bytes data;
};

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// The elements of a run of bytes, one after the other.
class Elements {
 public:
  Elements(Bytes bytes, const std::string& source) : rest_(bytes), source_(source) {}

  bool done() const { return rest_.empty(); }

  Element next() {
    require<IoError>(rest_.size() >= 8, "{}: damaged: a data element's tag is cut short", source_);
    const auto first = load<uint32_t>(rest_.data());
    // Up to four bytes lie within the tag itself.
    if (const uint32_t small = first >> 16; small != 0) {
      require<IoError>(small <= 4, "{}: damaged: a short data element of {} bytes", source_, small);
      const Element element{static_cast<Type>(first & 0xFFFF), rest_.subspan(4, small)};
      rest_ = rest_.subspan(8);
      return element;
    }
    const auto count = load<uint32_t>(rest_.data() + 4);
    rest_ = rest_.subspan(8);
    require<IoError>(count <= rest_.size(), "{}: damaged: a data element of {} bytes where {} are left", source_, count,
                     rest_.size());
    const Element element{static_cast<Type>(first), rest_.first(count)};
    const size_t padded = element.type == Type::compressed ? count : (size_t{count} + 7) / 8 * 8;
    rest_ = rest_.subspan(std::min(padded, rest_.size()));
    return element;
  }

  Element next(Type type, const char* what) {
    const Element element = next();
    require<IoError>(element.type == type, "{}: damaged: expected {}, found data of type {}", source_, what,
                     static_cast<uint32_t>(element.type));
    return element;
  }

 private:
  Bytes rest_;
  const std::string& source_;
};

struct Matrix {
  uint32_t kind = 0;  // its class
  uint64_t count = 0;
  std::string_view name;
  Elements rest;  // what follows, by class
};

Matrix open_matrix(Bytes bytes, const std::string& source) {
  Matrix matrix{0, 0, {}, Elements(bytes, source)};
  if (bytes.empty()) return matrix;  // an empty field
  const Element flags = matrix.rest.next(Type::uint32, "a matrix's flags");
  require<IoError>(flags.data.size() == 8, "{}: damaged: {} bytes of matrix flags", source, flags.data.size());
  matrix.kind = flags.data[0];
  const Element dimensions = matrix.rest.next(Type::int32, "a matrix's dimensions");
  require<IoError>(dimensions.data.size() >= 8 && dimensions.data.size() % 4 == 0,
                   "{}: damaged: a matrix without two dimensions", source);
  matrix.count = 1;
  for (size_t i = 0; i < dimensions.data.size(); i += 4) {
    const auto side = load<int32_t>(dimensions.data.data() + i);
    require<IoError>(side >= 0, "{}: damaged: a matrix with a side of {}", source, side);
    matrix.count *= static_cast<uint32_t>(side);
    // Before it overflows; no element takes less than a byte.
    require<IoError>(matrix.count <= kMostBytes, "{}: a matrix of more than {} elements", source, kMostBytes);
  }
  const Element name = matrix.rest.next(Type::int8, "a matrix's name");
  matrix.name = {reinterpret_cast<const char*>(name.data.data()), name.data.size()};
  return matrix;
}

/// The first number of an element, which MATLAB stores in the smallest type that holds all; NaN where there is none.
double first_number(const Element& element) {
  const auto read = [&]<typename T>(T) {
    return element.data.size() < sizeof(T) ? std::nan("") : static_cast<double>(load<T>(element.data.data()));
  };
  switch (element.type) {
    case Type::int8:
      return read(int8_t{});
    case Type::uint8:
      return read(uint8_t{});
    case Type::int16:
      return read(int16_t{});
    case Type::uint16:
      return read(uint16_t{});
    case Type::int32:
      return read(int32_t{});
    case Type::uint32:
      return read(uint32_t{});
    case Type::float32:
      return read(float{});
    case Type::float64:
      return read(double{});
    case Type::int64:
      return read(int64_t{});
    case Type::uint64:
      return read(uint64_t{});
    default:
      return std::nan("");
  }
}

/// Code points beyond the first plane come as two surrogates, which no name here has: they become question marks.
void append_utf8(std::string& text, uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | code >> 6);
    text += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code >= 0xD800 && code < 0xE000) {
    text += '?';
  } else {
    text += static_cast<char>(0xE0 | code >> 12);
    text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code & 0x3F));
  }
}

std::string text_of(const Element& element) {
  std::string text;
  if (element.type == Type::uint16 || element.type == Type::utf16) {
    for (size_t i = 0; i + 2 <= element.data.size(); i += 2) append_utf8(text, load<uint16_t>(element.data.data() + i));
  } else if (element.type == Type::utf8) {
    text.assign(element.data.begin(), element.data.end());
  } else if (element.type == Type::int8 || element.type == Type::uint8) {
    for (const uint8_t byte : element.data) append_utf8(text, byte);
  }
  return text;
}

void read_value(Bytes bytes, MatField& field, const std::string& source) {
  Matrix value = open_matrix(bytes, source);
  double number = std::nan("");
  std::string text;
  if (value.kind >= kFirstNumeric && value.kind <= kLastNumeric && value.count == 1) {
    number = first_number(value.rest.next());
  } else if (value.kind == kChar && value.count > 0) {
    text = text_of(value.rest.next());
  }
  field.numbers.push_back(number);
  field.texts.push_back(std::move(text));
}

/// What stands behind a struct array's name: the length that every field's name takes, the names, the values element by
/// element.
std::vector<MatField> read_fields(Matrix& structs, std::span<const std::string> fields, const std::string& source) {
  const Element length = structs.rest.next(Type::int32, "the length of field names");
  const int32_t each = length.data.size() == 4 ? load<int32_t>(length.data.data()) : 0;
  require<IoError>(each > 0, "{}: damaged: field names of {} bytes", source, each);
  const Element names = structs.rest.next(Type::int8, "field names");
  const size_t count = names.data.size() / static_cast<size_t>(each);
  require<IoError>(count <= kMostFields, "{}: a struct of {} fields", source, count);
  std::vector<std::optional<size_t>> wanted(count);  // a field's place in `fields`
  std::set<size_t> found;
  for (size_t f = 0; f < count; ++f) {
    const Bytes padded = names.data.subspan(f * static_cast<size_t>(each), static_cast<size_t>(each));
    const std::string name(padded.begin(), std::find(padded.begin(), padded.end(), 0));
    const auto place = std::find(fields.begin(), fields.end(), name);
    if (place == fields.end()) continue;
    wanted[f] = static_cast<size_t>(place - fields.begin());
    require<IoError>(found.insert(*wanted[f]).second, "{}: damaged: it has the field '{}' twice", source, name);
  }
  for (size_t w = 0; w < fields.size(); ++w) {
    require<IoError>(found.count(w) > 0, "{}: its structs have no field '{}'", source, fields[w]);
  }
  std::vector<MatField> values(fields.size());
  for (uint64_t i = 0; i < structs.count; ++i) {
    for (size_t f = 0; f < count; ++f) {
      const Element value = structs.rest.next(Type::matrix, "a field's value");
      if (wanted[f]) read_value(value.data, values[*wanted[f]], source);
    }
  }
  return values;
}

std::vector<uint8_t> inflated(Bytes packed, const std::string& source) {
  std::vector<uint8_t> bytes;
  z_stream stream{};
  require<IoError>(inflateInit(&stream) == Z_OK, "{}: cannot be unpacked: out of memory", source);
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  while (status == Z_OK && bytes.size() <= kMostBytes) {
    const size_t have = bytes.size();
    constexpr size_t kChunk = size_t{1} << 18;
    bytes.resize(have + kChunk);
    stream.next_out = bytes.data() + have;
    stream.avail_out = kChunk;
    status = inflate(&stream, Z_NO_FLUSH);
    bytes.resize(have + kChunk - stream.avail_out);
  }
  inflateEnd(&stream);
  require<IoError>(bytes.size() <= kMostBytes, "{}: unpacks to more than {} bytes", source, kMostBytes);
  require<IoError>(status == Z_STREAM_END, "{}: damaged: its compressed data cannot be unpacked past byte {}", source,
                   bytes.size());
  return bytes;
}

}  // namespace

std::vector<MatField> read_mat_structs(Bytes file, const std::string& variable, std::span<const std::string> fields,
                                       const std::string& source) {
  require<IoError>(
      file.size() >= kHeaderBytes && file[124] == 0 && file[125] == 1 && file[126] == 'I' && file[127] == 'M',
      "{}: expected a little-endian MATLAB file of version 5, found something else", source);
  Elements elements(file.subspan(kHeaderBytes), source);
  std::vector<uint8_t> unpacked;
  while (!elements.done()) {
    Element element = elements.next();
    if (element.type == Type::compressed) {
      unpacked = inflated(element.data, source);
      element = Elements(unpacked, source).next();
    }
    if (element.type != Type::matrix) continue;
    Matrix matrix = open_matrix(element.data, source);
    if (matrix.name != variable) continue;
    require<IoError>(matrix.kind == kStruct, "{}: expected '{}' to be a struct array, found class {}", source, variable,
                     matrix.kind);
    return read_fields(matrix, fields, source);
  }
  throw IoError(fmt::format("{}: it has no '{}'", source, variable));
}

}  // namespace striate
