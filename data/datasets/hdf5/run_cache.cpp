#include "data/datasets/hdf5/run_cache.h"

#include "kernels/error.h"

namespace striate {

std::shared_ptr<RunCache::Entry> RunCache::find(int64_t run, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (const auto found = places_.find(run); found != places_.end()) {
    newest_first_.splice(newest_first_.begin(), newest_first_, found->second);
    return newest_first_.front();
  }
  auto entry = std::make_shared<Entry>();
  entry->run = run;
  entry->bytes = bytes;
  newest_first_.push_front(entry);
  places_[run] = newest_first_.begin();
  kept_ += bytes;
  while (kept_ > most_ && newest_first_.size() > 2) {
    kept_ -= newest_first_.back()->bytes;
    places_.erase(newest_first_.back()->run);
    newest_first_.pop_back();
  }
  return entry;
}

std::shared_ptr<const RunCache::Bytes> RunCache::get(int64_t run, uint64_t bytes,
                                                     const std::function<void(Bytes&)>& unpack) {
  const auto entry = find(run, bytes);
  const std::lock_guard lock(entry->filling);
  if (!entry->error.empty()) throw IoError(entry->error);
  if (entry->unpacked == nullptr) {
    auto unpacked = std::make_shared<Bytes>(bytes);
    try {
      unpack(*unpacked);
    } catch (const IoError& error) {
      entry->error = error.what();
      throw;
    }
    entry->unpacked = std::move(unpacked);
  }
  return entry->unpacked;
}

}  // namespace striate
