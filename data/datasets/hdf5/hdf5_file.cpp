#include "data/datasets/hdf5/hdf5_file.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace striate::hdf5 {
namespace {

constexpr int kLzf = 32000;  // as registered with the HDF Group

/// Gives an identifier back to the library, which a Library is held for.
class Handle {
 public:
  explicit Handle(hid_t id) : id_(id) {}
  ~Handle() {
    if (id_ >= 0) H5Idec_ref(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
};

// hsize_t is another type of 64 bits on some machines.
std::vector<hsize_t> sizes(const std::vector<uint64_t>& values) { return {values.begin(), values.end()}; }

}  // namespace

File::File(std::string path) : path_(std::move(path)) {
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(descriptor_ >= 0, "{}: cannot open: {}", path_, std::strerror(errno));
  try {
    struct stat status {};
    require<IoError>(fstat(descriptor_, &status) == 0, "{}: cannot read: {}", path_, std::strerror(errno));
    require<IoError>(S_ISREG(status.st_mode), "{}: expected an HDF5 file, found {}", path_,
                     S_ISDIR(status.st_mode) ? "a folder" : "something else");
    bytes_ = static_cast<uint64_t>(status.st_size);
    const Library library;
    id_ = open_file(path_);
    require<IoError>(id_ >= 0,
                     "{}: not an HDF5 file that can be read, or cut short: HDF5 says: {}; look at it with h5ls, or "
                     "fetch it again",
                     path_, last_error());
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

File::~File() {
  {
    const Library library;
    H5Fclose(id_);
  }
  ::close(descriptor_);
}

bool File::has(const std::string& name) const {
  const Library library;
  return H5Lexists(id_, name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> File::names(size_t most) const {
  struct Found {
    std::vector<std::string> names;
    size_t most;
  } found{{}, most};
  const auto take = [](hid_t, const char* name, const H5L_info_t*, void* into) -> herr_t {
    auto& taken = *static_cast<Found*>(into);
    taken.names.emplace_back(name);
    return taken.names.size() < taken.most ? 0 : 1;
  };
  const Library library;
  hsize_t index = 0;
  H5Literate(id_, H5_INDEX_NAME, H5_ITER_NATIVE, &index, take, &found);
  return std::move(found.names);
}

void File::read(uint64_t offset, uint64_t bytes, uint8_t* out, const std::string& where) const {
  require<IoError>(offset <= bytes_ && bytes <= bytes_ - offset,
                   "{}: bytes {} to {} lie behind the end of the file of {} bytes; fetch it again", where, offset,
                   offset + bytes, bytes_);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, out, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    require<IoError>(got > 0, "{}: cannot read at byte {}: {}", where, offset,
                     got < 0 ? std::strerror(errno) : "the file has become shorter");
    out += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
}

Array::Array(std::shared_ptr<const File> file, const std::string& name) : file_(std::move(file)), name_(name) {
  const Library library;
  id_ = H5Oopen(file_->id(), name_.c_str(), H5P_DEFAULT);
  require<IoError>(id_ >= 0, "{}: cannot be opened: HDF5 says: {}", where(), last_error());
  try {
    require<IoError>(H5Iget_type(id_) == H5I_DATASET, "{}: expected a dataset, found a group or a type", where());
    const Handle space(H5Dget_space(id_));
    const int rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    require<IoError>(rank >= 0, "{}: its shape cannot be read: HDF5 says: {}", where(), last_error());
    std::vector<hsize_t> extents(static_cast<size_t>(rank));
    H5Sget_simple_extent_dims(space, extents.data(), nullptr);
    extents_.assign(extents.begin(), extents.end());
    describe_type();
    describe_storage();
  } catch (...) {
    H5Idec_ref(id_);
    throw;
  }
}

Array::~Array() {
  const Library library;
  H5Idec_ref(id_);
}

void Array::describe_type() {
  const Handle type(H5Dget_type(id_));
  require<IoError>(type >= 0, "{}: its type cannot be read: HDF5 says: {}", where(), last_error());
  const size_t bits = 8 * H5Tget_size(type);
  const H5T_class_t kind = H5Tget_class(type);
  const char* order = bits > 8 && H5Tget_order(type) == H5T_ORDER_BE ? ", big-endian" : "";
  if (kind == H5T_INTEGER) {
    const bool is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
    element_ = bits == 8 && !is_signed && H5Tget_precision(type) == 8 ? Element::byte : Element::integer;
    type_ = fmt::format("{}-bit {} integers{}", bits, is_signed ? "signed" : "unsigned", order);
  } else if (kind == H5T_FLOAT) {
    type_ = fmt::format("{}-bit floating-point numbers{}", bits, order);
  } else {
    constexpr const char* kNames[] = {"",
                                      "",
                                      "times",
                                      "texts",
                                      "bit fields",
                                      "opaque bytes",
                                      "compounds",
                                      "references",
                                      "enumerated values",
                                      "lists of varied length",
                                      "arrays"};
    type_ = kind >= H5T_TIME && kind <= H5T_ARRAY ? kNames[kind] : "an unknown type";
  }
}

void Array::describe_storage() {
  const Handle made_with(H5Dget_create_plist(id_));
  require<IoError>(made_with >= 0, "{}: its layout cannot be read: HDF5 says: {}", where(), last_error());
  const H5D_layout_t layout = H5Pget_layout(made_with);
  if (layout == H5D_CONTIGUOUS && H5Pget_external_count(made_with) == 0) layout_ = Layout::contiguous;
  if (layout != H5D_CHUNKED) return;
  std::vector<hsize_t> chunk(extents_.size());
  const int rank = static_cast<int>(chunk.size());
  require<IoError>(H5Pget_chunk(made_with, rank, chunk.data()) == rank, "{}: its chunks do not fit its shape", where());
  chunk_.assign(chunk.begin(), chunk.end());
  for (const uint64_t side : chunk_) require<IoError>(side > 0, "{}: has empty chunks", where());
  layout_ = Layout::chunked;
  const int count = H5Pget_nfilters(made_with);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, config = 0;
    size_t values = 32;
    Filter filter;
    filter.values.resize(values);
    char name[64] = "";
    filter.id = H5Pget_filter2(made_with, static_cast<unsigned>(i), &flags, &values, filter.values.data(), sizeof(name),
                               name, &config);
    name[sizeof(name) - 1] = '\0';
    filter.values.resize(std::min(values, filter.values.size()));
    if (filter.id >= 0 && H5Zfilter_avail(filter.id) <= 0) {
      missing_filter_ = fmt::format(
          "; it is packed by filter {} ({}), which this HDF5 has not got: write it in h5py "
          "with compression='gzip' or none",
          filter.id, filter.id == kLzf ? "h5py's lzf" : name);
    }
    filters_.push_back(std::move(filter));
  }
}

std::string Array::shape() const {
  if (extents_.empty()) return "a single value";
  std::string text;
  for (size_t i = 0; i < extents_.size(); ++i) text += (i == 0 ? "" : "×") + std::to_string(extents_[i]);
  return text;
}

uint64_t Array::stored_bytes() const {
  const Library library;
  return H5Dget_storage_size(id_);
}

std::optional<uint64_t> Array::offset() const {
  const Library library;
  const haddr_t address = H5Dget_offset(id_);
  return address == HADDR_UNDEF ? std::nullopt : std::optional<uint64_t>(address);
}

std::optional<Extent> Array::chunk_extent(std::span<const uint64_t> place, uint64_t most) const {
  const Library library;
  return hdf5::chunk_extent(id_, place, most);
}

void Array::read(uint64_t first, uint64_t count, Id memory_type, void* out) const {
  std::vector<hsize_t> begin(extents_.size(), 0), counts = sizes(extents_);
  begin[0] = first;
  counts[0] = count;
  const Handle in_file(H5Dget_space(id_));
  const Handle in_memory(H5Screate_simple(static_cast<int>(counts.size()), counts.data(), nullptr));
  const bool is_read =
      in_file >= 0 && in_memory >= 0 &&
      H5Sselect_hyperslab(in_file, H5S_SELECT_SET, begin.data(), nullptr, counts.data(), nullptr) >= 0 &&
      H5Dread(id_, memory_type, in_memory, in_file, H5P_DEFAULT, out) >= 0;
  require<IoError>(is_read, "{}: cannot read {} from {} on: HDF5 says: {}{}", where(), count, first, last_error(),
                   missing_filter_);
}

void Array::read_bytes(uint64_t first, uint64_t count, uint8_t* out) const {
  const Library library;
  read(first, count, H5T_NATIVE_UINT8, out);
}

void Array::read_integers(uint64_t first, uint64_t count, int64_t* out) const {
  const Library library;
  read(first, count, H5T_NATIVE_INT64, out);
}

}  // namespace striate::hdf5
