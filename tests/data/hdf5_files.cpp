#include "tests/data/hdf5_files.h"

#include <hdf5.h>

#include <algorithm>
#include <stdexcept>

namespace striate::test {
namespace {

int64_t good(int64_t status, const char* what) {
  if (status < 0) throw std::runtime_error(std::string("HDF5 cannot ") + what);
  return status;
}

hid_t stored_type(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::uint8:
      return H5T_STD_U8LE;
    case Hdf5Type::int8:
      return H5T_STD_I8LE;
    case Hdf5Type::int32:
      return H5T_STD_I32LE;
    case Hdf5Type::int64_big_endian:
      return H5T_STD_I64BE;
    case Hdf5Type::float32:
      return H5T_IEEE_F32LE;
    case Hdf5Type::text:
      return H5T_C_S1;
  }
  return -1;
}

std::vector<hsize_t> sizes(const std::vector<uint64_t>& values) { return {values.begin(), values.end()}; }

hid_t space_of(const std::vector<uint64_t>& extents) {
  const auto dims = sizes(extents);
  if (dims.empty()) return H5Screate(H5S_SCALAR);
  return good(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), "make a space");
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& file, bool newest_format) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (newest_format) good(H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "set the format");
  file_ = good(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), "make a file");
  H5Pclose(access);
}

Hdf5Writer::~Hdf5Writer() { H5Fclose(file_); }

int64_t Hdf5Writer::make(const std::string& name, const std::vector<uint64_t>& extents, const Hdf5Storage& storage,
                         Hdf5Type type) {
  const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  if (!storage.chunk.empty()) {
    good(H5Pset_chunk(how, static_cast<int>(storage.chunk.size()), sizes(storage.chunk).data()), "set chunks");
  }
  if (storage.shuffle) good(H5Pset_shuffle(how), "shuffle");
  if (storage.deflate > 0) good(H5Pset_deflate(how, static_cast<unsigned>(storage.deflate)), "deflate");
  if (storage.fletcher32) good(H5Pset_fletcher32(how), "checksum");
  if (storage.lzf) good(H5Pset_filter(how, 32000, H5Z_FLAG_OPTIONAL, 0, nullptr), "name a filter");
  if (storage.compact) good(H5Pset_layout(how, H5D_COMPACT), "be compact");
  const uint8_t fill = 77;
  if (type == Hdf5Type::uint8) good(H5Pset_fill_value(how, H5T_NATIVE_UINT8, &fill), "set a fill value");
  const hid_t space = space_of(extents);
  if (!storage.chunk.empty() && storage.chunk[0] > extents[0]) {  // allowed where the array may grow
    auto most = sizes(extents);
    most[0] = H5S_UNLIMITED;
    good(H5Sset_extent_simple(space, static_cast<int>(most.size()), sizes(extents).data(), most.data()), "may grow");
  }
  const hid_t array =
      good(H5Dcreate2(file_, name.c_str(), stored_type(type), space, H5P_DEFAULT, how, H5P_DEFAULT), "make an array");
  H5Sclose(space);
  H5Pclose(how);
  return array;
}

void Hdf5Writer::write(int64_t array, const std::vector<uint64_t>& extents, const Hdf5Storage& storage,
                       int64_t memory_type, const void* values) {
  auto counts = extents;
  if (!counts.empty()) counts[0] = std::min(counts[0], storage.written);
  if (storage.lzf) {
    const std::vector<hsize_t> begin(counts.size(), 0);
    good(H5Dwrite_chunk(array, H5P_DEFAULT, 0, begin.data(), 10, values), "write a chunk");
  } else if (counts.empty() || counts[0] > 0) {
    const hid_t in_file = H5Dget_space(array), in_memory = space_of(counts);
    if (!counts.empty()) {
      const std::vector<hsize_t> begin(counts.size(), 0);
      H5Sselect_hyperslab(in_file, H5S_SELECT_SET, begin.data(), nullptr, sizes(counts).data(), nullptr);
    }
    good(H5Dwrite(array, memory_type, in_memory, in_file, H5P_DEFAULT, values), "write an array");
    H5Sclose(in_file);
    H5Sclose(in_memory);
  }
  H5Dclose(array);
}

void Hdf5Writer::bytes(const std::string& name, const std::vector<uint64_t>& extents,
                       const std::vector<uint8_t>& values, const Hdf5Storage& storage, Hdf5Type type) {
  write(make(name, extents, storage, type), extents, storage, H5T_NATIVE_UINT8, values.data());
}

void Hdf5Writer::integers(const std::string& name, const std::vector<uint64_t>& extents,
                          const std::vector<int64_t>& values, Hdf5Type type, const Hdf5Storage& storage) {
  write(make(name, extents, storage, type), extents, storage, H5T_NATIVE_INT64, values.data());
}

void Hdf5Writer::group(const std::string& name) {
  H5Gclose(good(H5Gcreate2(file_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), "make a group"));
}

void Hdf5Writer::virtual_bytes(const std::string& name, const std::vector<uint64_t>& extents,
                               const std::filesystem::path& source, const std::string& source_name) {
  const hid_t how = H5Pcreate(H5P_DATASET_CREATE), space = space_of(extents);
  good(H5Pset_virtual(how, space, source.c_str(), source_name.c_str(), space), "map an array");
  H5Dclose(good(H5Dcreate2(file_, name.c_str(), H5T_STD_U8LE, space, H5P_DEFAULT, how, H5P_DEFAULT), "make an array"));
  H5Sclose(space);
  H5Pclose(how);
}

void Hdf5Writer::external_bytes(const std::string& name, const std::vector<uint64_t>& extents,
                                const std::filesystem::path& source) {
  const hid_t how = H5Pcreate(H5P_DATASET_CREATE), space = space_of(extents);
  good(H5Pset_external(how, source.c_str(), 0, H5F_UNLIMITED), "name a file");
  H5Dclose(good(H5Dcreate2(file_, name.c_str(), H5T_STD_U8LE, space, H5P_DEFAULT, how, H5P_DEFAULT), "make an array"));
  H5Sclose(space);
  H5Pclose(how);
}

}  // namespace striate::test
