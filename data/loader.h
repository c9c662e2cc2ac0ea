#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/batch_mixer.h"
#include "data/dataset.h"
#include "data/device_feed.h"
#include "data/load_transformed.h"
#include "data/loader_slot.h"
#include "data/normalization.h"
#include "data/pixel_normalizer.h"
#include "data/transforms/transform.h"
#include "engine/distributed/part_of.h"
#include "engine/train/batch_source.h"

namespace striate {

/// Some pictures of a dataset and how they are seen.
struct SampleSet {
  std::shared_ptr<const Dataset> dataset;
  std::vector<int64_t> indices;  ///< into the dataset
  Pipeline transforms;
};

struct LoaderOptions {
  int64_t batch_size = 128;                 ///< of all parts
  int height = 0, width = 0, channels = 0;  ///< of a transformed picture
  int workers = 2;                          ///< threads; 0: the caller's own, inside next()
  bool shuffle = false;
  bool skip_broken = false;
  bool may_reduce = false;  ///< large JPEGs may be decoded at a part of their size: load_transformed()
  uint64_t seed = 0;
  /// Where batches are wanted. For cuda the workers leave the last transforms to it (DeviceShare), and batches lie on
  /// it.
  Device device = Device::cpu;
  DType dtype = DType::float32;  ///< of its images; bfloat16 on cuda alone
  /// Keeps its memory there between epochs, so that every epoch's batches lie where the first one's did.
  bool keeps_device_memory = false;
  /// Of every batch only the rows part_of(rows, part, parts) are delivered, be they none.
  int64_t part = 0, parts = 1;
  MixOptions mix{};  ///< of each picture with its neighbour in the batch; a batch left with one picture stays as it is
  /// Called by next() once for each broken picture that was left out, with what is wrong with it.
  std::function<void(const std::string&)> on_broken{};
};

/// Batches of a sample set: worker threads decode, transform and normalise ahead of the consumer, a few batches at
/// most. Batch i of epoch e holds the same bits for any number of workers and whatever was read before. The tensors are
/// reused; nothing is allocated in steady state. With `skip_broken` a broken picture is left out of its batch, which is
/// smaller then; a batch left with none is passed over. Otherwise next() throws the picture's IoError. A picture that
/// the transforms cannot take, or of which they make another size, is a ShapeError that names it. Batches for a GPU
/// have the same bits: they go there as 8-bit pictures, a batch or two ahead, and are transformed there.
/// Of several parts each delivers its rows of every batch, which together have the bits of the whole one, and loads no
/// others, but where they are mixed the picture before its first one. A part with nothing left of a batch delivers it
/// empty: all parts go through the same batches.
class Loader final : public BatchSource {
 public:
  /// Throws ConfigError unless batch_size, sizes, part and workers make sense and the set holds a sample.
  Loader(SampleSet samples, const Normalization& normalization, LoaderOptions options);
  ~Loader() override;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t samples() const override { return static_cast<int64_t>(set_.indices.size()); }
  int64_t batch_size() const override { return options_.batch_size; }
  void start(int64_t epoch, int64_t first_batch = 0) override;
  bool next(Batch& batch) override;

  const SampleSet& set() const { return set_; }
  /// The dataset indices of this epoch's samples in order, those of all parts and broken ones included: those of batch
  /// i begin at i·batch_size.
  const std::vector<int64_t>& order() const { return order_; }
  /// Broken pictures left out of its part so far, each counted once.
  int64_t broken() const { return static_cast<int64_t>(reported_.size()); }

 private:
  struct Worker;
  struct Claim {
    LoaderSlot* slot = nullptr;
    int64_t begin = 0, end = 0;
  };

  bool claimable() const {
    return fill_batch_ < batches() && fill_batch_ < front_ + static_cast<int64_t>(slots_.size()) - 1;
  }
  bool for_gpu() const { return !on_host(options_.device); }
  Claim claim();
  void fill(const Claim& claim, Worker& worker);
  void fill_row(LoaderSlot& slot, int64_t row, Worker& worker);
  void fill_halo(LoaderSlot& slot, Worker& worker);
  void fill_with(LoaderSlot& slot, int64_t row, int64_t sample, Worker& worker);
  void finish(const Claim& claim, Worker& worker, std::unique_lock<std::mutex>& lock);
  void work();
  void wait_for_front(std::unique_lock<std::mutex>& lock);
  void fill_for_device(LoaderSlot& slot, int64_t row, int64_t sample, Worker& worker);
  void check_size(int64_t sample, const PictureSize& size) const;
  void send_ahead();
  void mix(LoaderSlot& slot, int64_t rows, Worker& worker) const;
  void deliver(const LoaderSlot& slot, Batch& batch);
  void report_broken(const LoaderSlot& slot);
  bool is_all_broken();
  LoaderSlot& slot_of(int64_t batch) { return *slots_[static_cast<size_t>(batch) % slots_.size()]; }
  /// Of an epoch's order.
  int64_t place_of(const LoaderSlot& slot, int64_t row) const {
    return slot.batch * batch_size() + slot.part.begin + row;
  }
  int64_t rows_of(int64_t batch) const { return std::min(batch_size(), samples() - batch * batch_size()); }
  Range part_rows(int64_t rows) const { return part_of(rows, options_.part, options_.parts); }
  int64_t most_rows() const;

  SampleSet set_;
  LoaderOptions options_;
  PixelNormalizer normalizer_;
  BatchMixer mixer_;
  DeviceShare device_share_;
  std::unique_ptr<DeviceFeed> feed_;  // for a GPU
  std::vector<std::unique_ptr<LoaderSlot>> slots_;
  Tensor last_images_, last_labels_;  // of the epoch's smaller last batch
  std::vector<int64_t> order_;
  std::map<int64_t, std::string> reported_;
  std::unique_ptr<Worker> own_worker_;

  std::mutex mutex_;  // guards what follows, and the slots
  std::condition_variable work_, done_;
  int64_t epoch_ = 0;
  int64_t front_ = 0;       // the batch that next() hands out next
  int64_t fill_batch_ = 0;  // where the next claim begins
  int64_t fill_row_ = 0;
  int64_t first_batch_ = 0;          // what start() was given
  int64_t delivered_ = 0;            // images handed out since start()
  int in_flight_ = 0;                // claims being worked on
  int64_t next_to_send_ = 0;         // to the GPU
  int64_t sent_ = 0, received_ = 0;  // batches, since ever
  bool started_ = false, stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace striate
