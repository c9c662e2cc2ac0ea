#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace striate {

/// Runs of pictures that lie together in a file and are costly to unpack, kept until their memory is wanted for others:
/// those that were asked for last stay. All functions may be called from several threads; a run is unpacked by one of
/// them while the others that want it wait.
class RunCache {
 public:
  using Bytes = std::vector<uint8_t>;

  /// Keeps at most `bytes`, but always the last two runs.
  explicit RunCache(uint64_t bytes) : most_(bytes) {}

  /// A run, unpacked by `unpack` into a buffer of `bytes` if it is not there. Its IoError comes again for whoever asks
  /// for the run while it stays.
  std::shared_ptr<const Bytes> get(int64_t run, uint64_t bytes, const std::function<void(Bytes&)>& unpack);

 private:
  struct Entry {
    int64_t run = 0;
    uint64_t bytes = 0;
    std::mutex filling;  // guards what follows until it is filled
    std::shared_ptr<const Bytes> unpacked;
    std::string error;
  };

  std::shared_ptr<Entry> find(int64_t run, uint64_t bytes);

  uint64_t most_;
  std::mutex mutex_;  // guards what follows
  uint64_t kept_ = 0;
  std::list<std::shared_ptr<Entry>> newest_first_;
  std::map<int64_t, std::list<std::shared_ptr<Entry>>::iterator> places_;
};

}  // namespace striate
