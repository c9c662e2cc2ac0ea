#include "engine/train/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "engine/storage.h"
#include "engine/train/atomic_file.h"
#include "engine/train/stored_type.h"
#include "kernels/error.h"

namespace striate {

static_assert(std::endian::native == std::endian::little,
              "safetensors are little-endian, and values are copied as they lie");

namespace {
using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit

struct TypeName {
  const char* name;
  StoredType type;
};
// Those that a tensor can have stand first: they are written under the first name that fits.
constexpr std::array<TypeName, 7> kTypes{{{"F32", StoredType::float32},
                                          {"I32", StoredType::int32},
                                          {"I64", StoredType::int64},
                                          {"U8", StoredType::uint8},
                                          {"F16", StoredType::float16},
                                          {"BF16", StoredType::bfloat16},
                                          {"F64", StoredType::float64}}};

const char* name_of(DType dtype) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return tensor_type(t.type) == dtype; })
      ->name;
}

class InputFile {
 public:
  explicit InputFile(const std::string& path) : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    require<IoError>(descriptor_ >= 0, "{}: cannot be opened: {}", path, std::strerror(errno));
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(descriptor_);
      throw IoError(fmt::format("{}: is not a file", path));
    }
    size_ = static_cast<uint64_t>(info.st_size);
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  void read(uint64_t offset, void* bytes, uint64_t count) const {
    char* next = static_cast<char*>(bytes);
    while (count > 0) {
      const ssize_t got = ::pread(descriptor_, next, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      require<IoError>(got > 0, "{}: cannot be read at byte {}: {}", path_, offset,
                       got == 0 ? "the file ends there" : std::strerror(errno));
      next += got;
      offset += static_cast<uint64_t>(got);
      count -= static_cast<uint64_t>(got);
    }
  }

 private:
  std::string path_;
  int descriptor_;
  uint64_t size_ = 0;
};

struct Entry {
  std::string name;
  StoredType type = StoredType::float32;
  Shape shape;
  uint64_t begin = 0, end = 0;  // within the data
};

struct Header {
  std::vector<Entry> entries;  // by place in the file
  Metadata metadata;
  uint64_t data_start = 0;
};

json parse_header(const std::string& path, const std::string& text) {
  // A JSON object keeps the last of two equal keys; here both would claim bytes of the file.
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    const auto level = static_cast<size_t>(depth);
    if (event == json::parse_event_t::object_start) {
      keys.resize(std::max(keys.size(), level + 2));
      keys[level + 1].clear();
    } else if (event == json::parse_event_t::key && level < keys.size() &&
               !keys[level].insert(value.get<std::string>()).second) {
      duplicate = value.get<std::string>();
    }
    return true;
  };
  json header;
  try {
    header = json::parse(text, watch);
  } catch (const json::exception& e) {
    throw IoError(fmt::format("{}: the safetensors header is not JSON: {}", path, e.what()));
  }
  require<IoError>(header.is_object(), "{}: the safetensors header is not a JSON object", path);
  require<IoError>(duplicate.empty(), "{}: '{}' appears twice in the safetensors header", path, duplicate);
  return header;
}

Entry parse_entry(const std::string& path, const std::string& name, const json& value) {
  const auto fail = [&](const std::string& what) {
    throw IoError(fmt::format("{}: tensor '{}': {}", path, name, what));
  };
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets")) {
    fail("expected dtype, shape and data_offsets in its header");
  }
  Entry entry;
  entry.name = name;
  const json& dtype = value["dtype"];
  const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return dtype == t.name; });
  if (known == kTypes.end()) {
    fail(fmt::format("dtype {}, expected F32, F16, BF16, F64, I32, I64 or U8", dtype.dump()));
  }
  entry.type = known->type;

  const json& shape = value["shape"];
  if (!shape.is_array()) fail("its shape is not a list");
  uint64_t bytes = size_of(entry.type);
  for (const json& size : shape) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      fail(fmt::format("its shape {} has something else than sizes", shape.dump()));
    }
    if (__builtin_mul_overflow(bytes, size.get<uint64_t>(), &bytes)) {
      fail(fmt::format("its shape {} is absurd", shape.dump()));
    }
    entry.shape.push_back(size.get<int64_t>());
  }
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail("its data_offsets are not two numbers");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    fail(fmt::format("{} {} takes {} bytes, its data_offsets [{}, {}] say otherwise", known->name,
                     to_string(entry.shape), bytes, entry.begin, entry.end));
  }
  return entry;
}

Header read_header(const std::string& path, const InputFile& file) {
  require<IoError>(file.size() >= kLengthBytes, "{}: {} bytes, too short for a safetensors file", path, file.size());
  uint64_t length = 0;
  file.read(0, &length, kLengthBytes);
  require<IoError>(length <= kMaxHeader && length <= file.size() - kLengthBytes,
                   "{}: the header claims {} bytes of a file of {}; not a safetensors file, or a damaged one", path,
                   length, file.size());
  std::string text(length, '\0');
  file.read(kLengthBytes, text.data(), length);

  Header header;
  header.data_start = kLengthBytes + length;
  const uint64_t data_bytes = file.size() - header.data_start;
  const json parsed = parse_header(path, text);
  for (const auto& [name, value] : parsed.items()) {
    if (name == "__metadata__") {
      require<IoError>(value.is_object(), "{}: __metadata__ is not a map", path);
      for (const auto& [key, entry] : value.items()) {
        require<IoError>(entry.is_string(), "{}: metadata '{}' is not a string", path, key);
        header.metadata[key] = entry.get<std::string>();
      }
    } else {
      header.entries.push_back(parse_entry(path, name, value));
    }
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t place = 0;
  for (const Entry& e : header.entries) {
    require<IoError>(e.end <= data_bytes, "{}: tensor '{}' ends at byte {} of the data, the file has {}; it is cut off",
                     path, e.name, e.end, data_bytes);
    require<IoError>(e.begin == place, "{}: tensor '{}' begins at byte {}, expected {}: tensors {}", path, e.name,
                     e.begin, place, e.begin < place ? "overlap" : "leave a gap");
    place = e.end;
  }
  require<IoError>(place == data_bytes, "{}: the tensors end at byte {} of the data, the file has {}", path, place,
                   data_bytes);
  return header;
}
}  // namespace

const Tensor* Safetensors::find(const std::string& name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
  return it == tensors.end() ? nullptr : &it->tensor;
}

std::string Safetensors::text(const std::string& key) const {
  const auto it = metadata.find(key);
  return it == metadata.end() ? "" : it->second;
}

Safetensors read_safetensors(const std::string& path) {
  const InputFile file(path);
  Header header = read_header(path, file);
  Safetensors result;
  result.metadata = std::move(header.metadata);
  for (const Entry& e : header.entries) {
    Tensor tensor = Tensor::empty(e.shape, tensor_type(e.type));
    void* values = tensor.impl()->storage->data();
    if (tensor.bytes() == e.end - e.begin) {
      file.read(header.data_start + e.begin, values, e.end - e.begin);
    } else {
      std::string stored(e.end - e.begin, '\0');
      file.read(header.data_start + e.begin, stored.data(), stored.size());
      convert_stored(e.type, stored.data(), tensor.size(), values);
    }
    result.tensors.push_back({e.name, std::move(tensor)});
  }
  return result;
}

Metadata read_safetensors_metadata(const std::string& path) { return read_header(path, InputFile(path)).metadata; }

std::string safetensors_header(const std::vector<SafetensorsEntry>& entries, const Metadata& metadata, size_t bytes) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t place = 0;
  for (const SafetensorsEntry& entry : entries) {
    require<IoError>(entry.name != "__metadata__" && !header.contains(entry.name), "two tensors are named '{}'",
                     entry.name);
    uint64_t size = size_of(entry.dtype);
    for (const int64_t n : entry.shape) size *= static_cast<uint64_t>(n);
    header[entry.name] = {
        {"dtype", name_of(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {place, place + size}}};
    place += size;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');  // the data start aligned
  if (kLengthBytes + text.size() < bytes) text.append(bytes - kLengthBytes - text.size(), ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), kLengthBytes) + text;
}

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : tensors) entries.push_back({name, tensor.dtype(), tensor.shape()});
  AtomicFile file(path);
  file.write(safetensors_header(entries, metadata));
  for (const NamedTensor& t : tensors) {
    const Tensor host = t.tensor.to(Device::cpu);
    file.write(std::as_const(*host.impl()->storage).data(), static_cast<size_t>(host.size()) * size_of(host.dtype()));
  }
  file.commit();
}

}  // namespace striate
