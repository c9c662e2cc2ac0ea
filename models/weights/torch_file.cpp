#include "models/weights/torch_file.h"

#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "engine/storage.h"
#include "kernels/error.h"
#include "models/weights/zip_reader.h"

namespace striate::models {
namespace {

// A tensor takes about a hundred bytes of it; this is enough for forty thousand of them, and what the pickle makes of
// memory, at most a hundred times its size, stays small.
constexpr int64_t kLargestPickle = 4 << 20;
// float16 doubles as it is read, and tensors that share a storage are copies of it.
constexpr int64_t kMostCopies = 4;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The view's values, contiguous.
Tensor view_of(const std::string& storage, const PickledTensor& view) {
  Tensor result = Tensor::empty(view.shape, tensor_type(view.type));
  const auto stored_bytes = static_cast<int64_t>(size_of(view.type));
  const auto result_bytes = static_cast<int64_t>(size_of(result.dtype()));
  char* to = static_cast<char*>(result.impl()->storage->data());
  const auto rank = view.shape.size();
  // The inner axes that lie as in a contiguous tensor are copied at once.
  size_t outer = rank;
  int64_t run = 1;
  while (outer > 0 && (view.shape[outer - 1] == 1 || view.strides[outer - 1] == run)) run *= view.shape[--outer];
  std::vector<int64_t> index(outer, 0);
  for (int64_t done = 0; done < result.size(); done += run) {
    int64_t at = view.offset;
    for (size_t axis = 0; axis < outer; ++axis) at += index[axis] * view.strides[axis];
    convert_stored(view.type, storage.data() + at * stored_bytes, run, to + done * result_bytes);
    for (size_t axis = outer; axis-- > 0 && ++index[axis] == view.shape[axis];) index[axis] = 0;
  }
  return result;
}

}  // namespace

TorchFile::TorchFile(std::string path) : path_(std::move(path)) {
  const std::string kPickle = "data.pkl", kByteOrder = "byteorder";
  bool found = false, big_endian = false;
  ZipReader zip(path_);
  while (zip.next()) {
    const bool is_pickle = zip.name() == kPickle || ends_with(zip.name(), "/" + kPickle);
    if (is_pickle) {
      require<IoError>(!found, "{}: holds more than one {}", path_, kPickle);
      require<IoError>(zip.size() <= kLargestPickle, "{}: its {} has {} bytes, more than any state dict needs ({})",
                       path_, kPickle, zip.size(), kLargestPickle);
      found = true;
      folder_ = zip.name().substr(0, zip.name().size() - kPickle.size());
      tensors_ = read_state_dict(zip.read(), path_);
    } else if (ends_with(zip.name(), "/" + kByteOrder)) {
      big_endian = zip.size() == 3 && zip.read() == "big";
    }
  }
  require<IoError>(found, "{}: a zip archive without {}, so torch.save has not written it", path_, kPickle);
  require<IoError>(!big_endian, "{}: was written by a machine with the other byte order; save it on this one", path_);
}

std::vector<SafetensorsEntry> TorchFile::entries() const {
  std::vector<SafetensorsEntry> entries;
  for (const PickledTensor& t : tensors_) entries.push_back({t.name, tensor_type(t.type), t.shape});
  return entries;
}

std::vector<NamedTensor> TorchFile::read() const {
  std::map<std::string, std::vector<size_t>> wanted;  // entry of the zip → tensors
  for (size_t i = 0; i < tensors_.size(); ++i) wanted[folder_ + "data/" + tensors_[i].storage].push_back(i);
  // A tensor is not larger than its storage; a storage's size is checked as it is reached.
  std::vector<NamedTensor> result(tensors_.size());
  int64_t file_bytes = 0, tensor_bytes = 0;
  ZipReader zip(path_);
  while (zip.next()) {
    file_bytes += zip.size();
    const auto it = wanted.find(zip.name());
    if (it == wanted.end()) continue;
    for (const size_t i : it->second) {
      const PickledTensor& t = tensors_[i];
      int64_t expected = 0;
      const bool fits = !__builtin_mul_overflow(t.storage_elements, static_cast<int64_t>(size_of(t.type)), &expected);
      require<IoError>(fits && expected == zip.size(), "{}: '{}' is stored as {} values of {}, but {} has {} bytes",
                       path_, t.name, t.storage_elements, to_string(t.type), zip.name(), zip.size());
      tensor_bytes += element_count(t.shape) * static_cast<int64_t>(size_of(tensor_type(t.type)));
      require<IoError>(tensor_bytes <= kMostCopies * file_bytes,
                       "{}: tensors that share storages would take {} bytes out of {}", path_, tensor_bytes,
                       file_bytes);
    }
    const std::string storage = zip.read();
    for (const size_t i : it->second) result[i] = {tensors_[i].name, view_of(storage, tensors_[i])};
    wanted.erase(it);
  }
  require<IoError>(wanted.empty(), "{}: has no {}, the values of '{}'; the file is damaged", path_,
                   wanted.empty() ? "" : wanted.begin()->first,
                   wanted.empty() ? "" : tensors_[wanted.begin()->second.front()].name);
  return result;
}

bool is_torch_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  require<IoError>(file.is_open(), "{}: cannot be opened: {}", path, std::strerror(errno));
  std::string begin(263, '\0');
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<size_t>(file.gcount()));
  // torch's magic number as a pickle of protocol 2; before that, a tar archive.
  const bool pickled = begin.rfind("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 0) == 0;
  const bool tar = begin.size() == 263 && begin.compare(257, 5, "ustar") == 0;
  require<IoError>(!pickled && !tar,
                   "{}: in the format of PyTorch before 1.6. Convert it with\n  python3 -c \"import torch; "
                   "torch.save(torch.load('{}', map_location='cpu', weights_only=True), 'converted.pth')\"",
                   path, path);
  return begin.rfind("PK\x03\x04", 0) == 0 || begin.rfind("PK\x05\x06", 0) == 0;
}

}  // namespace striate::models
