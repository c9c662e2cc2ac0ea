#include "data/datasets/hdf5/hdf5_driver.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>
#if __has_include(<H5FDdevelop.h>)  // since 1.14
#include <H5FDdevelop.h>
#endif

#include <algorithm>
#include <cerrno>
#include <memory>
#include <type_traits>
#include <vector>

namespace striate::hdf5 {
namespace {

static_assert(std::is_same_v<Id, hid_t>, "HDF5 1.10 or later is needed");

std::mutex mutex;              // of all of the library
Extent* noted_read = nullptr;  // where chunk_extent() wants to know of the next read of raw data

/// The library hands out the first member's address.
struct OpenFile {
  H5FD_t library_part{};
  int descriptor = -1;
  haddr_t end_of_file = 0, end_of_allocated = 0;
};

OpenFile* ours(H5FD_t* file) { return reinterpret_cast<OpenFile*>(file); }
const OpenFile* ours(const H5FD_t* file) { return reinterpret_cast<const OpenFile*>(file); }

H5FD_t* driver_open(const char* name, unsigned flags, hid_t, haddr_t) {
  if ((flags & H5F_ACC_RDWR) != 0) return nullptr;
  auto file = std::make_unique<OpenFile>();
  file->descriptor = open(name, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (file->descriptor < 0) return nullptr;
  if (fstat(file->descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(file->descriptor);
    return nullptr;
  }
  file->end_of_file = static_cast<haddr_t>(status.st_size);
  return &file.release()->library_part;
}

herr_t driver_close(H5FD_t* file) {
  close(ours(file)->descriptor);
  delete ours(file);
  return 0;
}

herr_t driver_query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr) *flags = H5FD_FEAT_ACCUMULATE_METADATA;
  return 0;
}

haddr_t driver_get_eoa(const H5FD_t* file, H5FD_mem_t) { return ours(file)->end_of_allocated; }

herr_t driver_set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  ours(file)->end_of_allocated = end;
  return 0;
}

haddr_t driver_get_eof(const H5FD_t* file, H5FD_mem_t) { return ours(file)->end_of_file; }

herr_t driver_read(H5FD_t* file, H5FD_mem_t kind, hid_t, haddr_t offset, size_t bytes, void* buffer) {
  if (noted_read != nullptr && kind == H5FD_MEM_DRAW) {
    *noted_read = {offset, bytes, 0};
    return 0;
  }
  auto* out = static_cast<char*>(buffer);
  while (bytes > 0) {
    const ssize_t got = pread(ours(file)->descriptor, out, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) {  // the library reads ahead past the end
      std::fill_n(out, bytes, '\0');
      return 0;
    }
    out += got;
    offset += static_cast<haddr_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return 0;
}

herr_t driver_write(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, size_t, const void*) { return -1; }

hid_t driver() {
  static const hid_t id = [] {
    static H5FD_class_t about{};
#ifdef H5FD_CLASS_VERSION
    about.version = H5FD_CLASS_VERSION;
    about.value = static_cast<H5FD_class_value_t>(H5_VFD_RESERVED + 7);
#endif
    about.name = "striate_pread";
    about.maxaddr = static_cast<haddr_t>(INT64_MAX);
    about.fc_degree = H5F_CLOSE_STRONG;
    about.open = driver_open;
    about.close = driver_close;
    about.query = driver_query;
    about.get_eoa = driver_get_eoa;
    about.set_eoa = driver_set_eoa;
    about.get_eof = driver_get_eof;
    about.read = driver_read;
    about.write = driver_write;
    constexpr H5FD_mem_t kKinds[] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(kKinds), std::end(kKinds), about.fl_map);
    return H5FDregister(&about);
  }();
  return id;
}

/// The index of a million chunks is read once, and takes five times its size when it is unpacked.
void limit_metadata(hid_t access) {
  H5AC_cache_config_t config{};
  config.version = H5AC__CURR_CACHE_CONFIG_VERSION;
  if (H5Pget_mdc_config(access, &config) < 0) return;
  config.set_initial_size = true;
  config.initial_size = config.min_size = size_t{1} << 20;
  config.max_size = size_t{4} << 20;
  H5Pset_mdc_config(access, &config);
}

}  // namespace

Library::Library() : lock_(mutex) {
  H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Library::~Library() {
  // Errors that threads leave behind when they end, if they are many, keep the library from closing at exit.
  H5Eclear2(H5E_DEFAULT);
  H5Eset_auto2(H5E_DEFAULT, print_, print_data_);
}

std::string last_error() {
  std::string text;
  // The first is the innermost, which knows what happened.
  const auto take = [](unsigned, const H5E_error2_t* error, void* into) -> herr_t {
    auto& said = *static_cast<std::string*>(into);
    if (said.empty() && error->desc != nullptr) said = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &text);
  return text.empty() ? "no reason given" : text;
}

Id open_file(const std::string& path) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  hid_t file = -1;
  limit_metadata(access);
  if (access >= 0 && H5Pset_driver(access, driver(), nullptr) >= 0)
    file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  if (file < 0) {
    // Closing would clear the reason.
    const hid_t reason = H5Eget_current_stack();
    H5Pclose(access);
    H5Eset_current_stack(reason);
    return -1;
  }
  H5Pclose(access);
  return file;
}

std::optional<Extent> chunk_extent(Id dataset, std::span<const uint64_t> place, uint64_t most) {
  const std::vector<hsize_t> offset(place.begin(), place.end());
  hsize_t bytes = 0;
  if (H5Dget_chunk_storage_size(dataset, offset.data(), &bytes) < 0 || bytes == 0 || bytes > most) return std::nullopt;
  // Nothing is written there as long as the driver is asked, which is the library's affair and not promised.
  static std::vector<uint8_t> unused;
  if (unused.size() < bytes) unused.resize(bytes);
  Extent extent;
  uint32_t skipped = 0;
  noted_read = &extent;
  const herr_t status = H5Dread_chunk(dataset, H5P_DEFAULT, offset.data(), &skipped, unused.data());
  noted_read = nullptr;
  if (status < 0 || extent.bytes != bytes) return std::nullopt;
  extent.skipped_filters = skipped;
  return extent;
}

}  // namespace striate::hdf5
