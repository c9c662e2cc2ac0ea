#include "data/loader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "data/broken_image.h"
#include "data/load_transformed.h"
#include "data/sampler.h"
#include "engine/profiler.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Pictures that a worker takes at a time: enough to make the lock cheap, few enough to share a small batch.
constexpr int64_t kClaim = 8;

/// Batches as large are written past the caches, where they would not stay until the network reads them (as in
/// kernels/simd.h).
constexpr int64_t kPastTheCaches = int64_t{16} << 20;

}  // namespace

/// A batch in the making.
struct Loader::Slot {
  Tensor own_images, own_labels;
  Tensor images, labels;  // own ones, or those of the smaller last batch
  float* pixels = nullptr;
  std::unique_ptr<PinnedBatch> pinned;  // instead of images, for a GPU
  int32_t* classes = nullptr;
  int64_t batch = -1, rows = 0, finished = 0;
  int64_t kept = -1;                  // rows left by close_ranks(); −1 before it
  std::vector<uint8_t> broken;        // a flag a row; each written by one worker
  std::vector<std::string> messages;  // of the broken rows
  std::exception_ptr error;           // that of the first bad row, so that it is the same for any number of workers
  int64_t error_row = 0;
};

struct Loader::Worker {
  Image image;
  DevicePicture picture;
  TransformScratch scratch;
  std::vector<float> first_partner;
};

Loader::Loader(SampleSet samples, const Normalization& normalization, LoaderOptions options)
    : set_(std::move(samples)),
      options_(std::move(options)),
      normalizer_(normalization),
      mixer_(options_.mix, options_.seed, options_.height, options_.width, options_.channels),
      device_share_(striate::device_share(set_.transforms)),
      own_worker_(std::make_unique<Worker>()) {
  require<ConfigError>(options_.batch_size > 0, "batch size: expected at least 1, found {}", options_.batch_size);
  require<ConfigError>(options_.workers >= 0 && options_.workers <= 1024, "data.workers: expected 0 to 1024, found {}",
                       options_.workers);
  require<ConfigError>(set_.dataset != nullptr && !set_.indices.empty(), "loader: no samples to load");
  require<ConfigError>(options_.height > 0 && options_.width > 0 && (options_.channels == 1 || options_.channels == 3),
                       "loader: impossible image size {}×{}×{}", options_.height, options_.width, options_.channels);
  require<ConfigError>(options_.dtype == DType::float32 || (options_.dtype == DType::bfloat16 && for_gpu()),
                       "loader: images of {} on {}: expected float32, or bfloat16 on cuda", to_string(options_.dtype),
                       to_string(options_.device));
  const MeanImage* mean = normalization.mean_image.get();
  const bool is_stack = mean != nullptr && options_.height % mean->height == 0;  // of crops, one below the other
  check_fits(normalization, is_stack ? mean->height : options_.height, options_.width, options_.channels);
  // One batch in the consumer's hands, two ahead; small batches more, so that every worker finds something to do.
  const int64_t ahead = std::max<int64_t>(2, (2 * options_.workers * kClaim + batch_size() - 1) / batch_size());
  slots_.resize(static_cast<size_t>(1 + std::min(ahead, std::max<int64_t>(batches(), 1))));
  for (auto& slot : slots_) slot = std::make_unique<Slot>();
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

int64_t Loader::rows_of(int64_t batch) const { return std::min(batch_size(), samples() - batch * batch_size()); }

void Loader::start(int64_t epoch, int64_t first_batch) {
  require<ConfigError>(epoch >= 0 && first_batch >= 0 && first_batch <= batches(),
                       "loader: cannot start at batch {} of epoch {}; an epoch has {} batches", first_batch, epoch,
                       batches());
  std::unique_lock lock(mutex_);
  fill_batch_ = batches();  // nobody claims any more
  done_.wait(lock, [&] { return in_flight_ == 0; });
  order_ = options_.shuffle ? shuffled_samples(set_.indices, set_.dataset->runs(), options_.seed, epoch) : set_.indices;
  const auto tensors = [&](int64_t rows, Tensor& images, Tensor& labels) {
    if (labels.defined()) return;
    if (!for_gpu()) images = Tensor::empty({rows, options_.height, options_.width, options_.channels});
    labels = Tensor::empty({rows}, DType::int32);
  };
  if (samples() >= batch_size()) {
    for (auto& slot : slots_) tensors(batch_size(), slot->own_images, slot->own_labels);
  }
  if (samples() % batch_size() != 0) tensors(samples() % batch_size(), last_images_, last_labels_);
  if (for_gpu() && feed_ == nullptr) {
    const ImageBatchShape shape{.N = std::min(batch_size(), samples()),
                                .slot_h = options_.height,
                                .slot_w = options_.width,
                                .H = options_.height,
                                .W = options_.width,
                                .C = options_.channels,
                                .steps = device_share_.steps,
                                .has_contrast = device_share_.has_contrast};
    shape.check();
    feed_ = std::make_unique<DeviceFeed>(shape, normalizer_, options_.dtype);
    for (auto& slot : slots_) {
      if (slot->pinned == nullptr) slot->pinned = std::make_unique<PinnedBatch>(shape);
    }
  }
  for (auto& slot : slots_) {
    slot->batch = -1;
    slot->error = nullptr;
  }
  epoch_ = epoch;
  front_ = fill_batch_ = first_batch;
  next_to_send_ = first_batch;
  received_ = sent_;  // what is under way to the GPU is nobody's
  fill_row_ = 0;
  delivered_ = 0;
  first_batch_ = first_batch;
  started_ = true;
  while (static_cast<int>(threads_.size()) < options_.workers) threads_.emplace_back([this] { work(); });
  work_.notify_all();
}

Loader::Claim Loader::claim() {
  Slot& slot = *slots_[static_cast<size_t>(fill_batch_) % slots_.size()];
  if (fill_row_ == 0) {
    slot.batch = fill_batch_;
    slot.rows = rows_of(fill_batch_);
    slot.finished = 0;
    slot.kept = -1;
    const bool is_whole = slot.rows == batch_size();
    slot.images = is_whole ? slot.own_images : last_images_;
    slot.labels = is_whole ? slot.own_labels : last_labels_;
    slot.pixels = slot.images.defined() ? slot.images.data<float>() : nullptr;
    slot.classes = slot.labels.data<int32_t>();
    slot.broken.assign(static_cast<size_t>(slot.rows), 0);
    slot.messages.clear();
    slot.error = nullptr;
  }
  const Claim claim{&slot, fill_row_, std::min(fill_row_ + kClaim, slot.rows)};
  fill_row_ = claim.end;
  if (fill_row_ == slot.rows) {
    ++fill_batch_;
    fill_row_ = 0;
  }
  ++in_flight_;
  return claim;
}

void Loader::check_size(int64_t sample, const PictureSize& size) const {
  require<ShapeError>(
      size.height == options_.height && size.width == options_.width && size.channels == options_.channels,
      "{}: its transforms make it {}×{}×{}, expected {}×{}×{}; end them with a crop or a resize: [H, W]",
      set_.dataset->describe(sample), size.height, size.width, size.channels, options_.height, options_.width,
      options_.channels);
}

void Loader::fill_row(Slot& slot, int64_t row, Worker& worker) {
  const int64_t sample = order_[static_cast<size_t>(slot.batch * batch_size() + row)];
  slot.classes[row] = set_.dataset->label(sample);
  if (slot.pinned != nullptr) return fill_for_device(slot, row, sample, worker);
  Image& image = worker.image;
  load_transformed(*set_.dataset, sample, set_.transforms, options_.seed, epoch_, image, worker.scratch,
                   options_.may_reduce);
  check_size(sample, {image.height, image.width, image.channels});
  const int64_t values = static_cast<int64_t>(image.pixels.size());
  const bool streamed = batch_size() * values * int64_t{sizeof(float)} >= kPastTheCaches;
  normalizer_.apply(image, streamed, slot.pixels + row * values);
}

void Loader::fill_for_device(Slot& slot, int64_t row, int64_t sample, Worker& worker) {
  slot.pinned->wait_until_fetched();
  LevelPlan plan(slot.pinned->steps(row));
  load_for_device(*set_.dataset, sample, set_.transforms, device_share_, options_.seed, epoch_,
                  {0, 0, options_.height, options_.width}, worker.picture, plan, worker.scratch, options_.may_reduce);
  check_size(sample, worker.picture.seen);
  slot.pinned->put(row, worker.picture);
}

void Loader::fill(const Claim& claim, Worker& worker) {
  Slot& slot = *claim.slot;
  for (int64_t row = claim.begin; row < claim.end; ++row) {
    try {
      fill_row(slot, row, worker);
    } catch (const IoError& error) {
      const std::lock_guard lock(mutex_);
      if (options_.skip_broken) {
        slot.broken[static_cast<size_t>(row)] = 1;
        slot.messages.resize(static_cast<size_t>(slot.rows));
        slot.messages[static_cast<size_t>(row)] = error.what();
      } else if (slot.error == nullptr || row < slot.error_row) {
        slot.error = std::make_exception_ptr(broken_image(error));
        slot.error_row = row;
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (slot.error == nullptr || row < slot.error_row) {
        slot.error = std::current_exception();
        slot.error_row = row;
      }
    }
  }
}

void Loader::finish(const Claim& claim, Worker& worker, std::unique_lock<std::mutex>& lock) {
  Slot& slot = *claim.slot;
  const bool is_last = slot.finished + claim.end - claim.begin == slot.rows;
  // Where rows are broken next() mixes what is left.
  if (is_last && mixer_.is_on() && !for_gpu() && slot.messages.empty() && slot.error == nullptr) {
    lock.unlock();
    mixer_.mix(slot.pixels, slot.rows, epoch_, slot.batch, worker.first_partner);
    lock.lock();
  }
  slot.finished += claim.end - claim.begin;
  --in_flight_;
  if (is_last && for_gpu() && !stop_) {
    try {
      send_ahead();
    } catch (...) {
      slot.error = std::current_exception();
    }
  }
  if (in_flight_ == 0 || slot.finished == slot.rows) done_.notify_all();
}

void Loader::work() {
  Worker worker;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stop_ || claimable(); });
    if (stop_) return;
    const Claim mine = claim();
    lock.unlock();
    {
      const ProfileScope profiled(Pass::load, "load images");
      fill(mine, worker);
    }
    lock.lock();
    finish(mine, worker, lock);
  }
}

void Loader::wait_for_front(std::unique_lock<std::mutex>& lock) {
  const Slot& slot = *slots_[static_cast<size_t>(front_) % slots_.size()];
  const auto is_ready = [&] { return slot.batch == front_ && slot.finished == slot.rows; };
  while (options_.workers == 0 && !is_ready()) {
    const Claim mine = claim();
    lock.unlock();
    fill(mine, *own_worker_);
    lock.lock();
    finish(mine, *own_worker_, lock);
  }
  done_.wait(lock, is_ready);
}

/// Sends the GPU the next batches that are finished, as many as it has room for.
void Loader::send_ahead() {
  for (; next_to_send_ < batches(); ++next_to_send_) {
    Slot& slot = *slots_[static_cast<size_t>(next_to_send_) % slots_.size()];
    if (slot.batch != next_to_send_ || slot.finished != slot.rows || slot.error != nullptr) return;
    if (slot.kept < 0) slot.kept = close_ranks(slot);
    if (slot.kept == 0) continue;
    if (sent_ - received_ == DeviceFeed::kBuffers) return;
    feed_->send(static_cast<int>(sent_ % DeviceFeed::kBuffers), *slot.pinned, slot.kept,
                mixer_.mix_of(slot.kept, epoch_, slot.batch));
    ++sent_;
  }
}

/// Moves rows up to where broken ones are; returns how many are left.
int64_t Loader::close_ranks(Slot& slot) {
  if (slot.messages.empty()) return slot.rows;
  const int64_t values = int64_t{options_.height} * options_.width * options_.channels;
  int64_t kept = 0;
  for (int64_t row = 0; row < slot.rows; ++row) {
    if (slot.broken[static_cast<size_t>(row)] != 0) continue;
    if (kept != row) {
      if (slot.pinned != nullptr) {
        slot.pinned->move(row, kept);
      } else {
        std::memcpy(slot.pixels + kept * values, slot.pixels + row * values,
                    static_cast<size_t>(values) * sizeof(float));
      }
      slot.classes[kept] = slot.classes[row];
    }
    ++kept;
  }
  return kept;
}

void Loader::report_broken(const Slot& slot) {
  if (slot.messages.empty()) return;
  for (int64_t row = 0; row < slot.rows; ++row) {
    if (slot.broken[static_cast<size_t>(row)] == 0) continue;
    const int64_t sample = order_[static_cast<size_t>(slot.batch * batch_size() + row)];
    const auto& message = slot.messages[static_cast<size_t>(row)];
    if (reported_.emplace(sample, message).second && options_.on_broken) options_.on_broken(message);
  }
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  require<Error>(started_, "loader: next() before start()");
  for (;;) {
    if (front_ == batches()) {
      require<IoError>(delivered_ > 0 || first_batch_ > 0 || reported_.empty(), "every image is broken; the last: {}",
                       reported_.empty() ? "" : reported_.rbegin()->second);
      if (!options_.keeps_device_memory) feed_.reset();
      return false;
    }
    wait_for_front(lock);
    Slot& slot = *slots_[static_cast<size_t>(front_) % slots_.size()];
    if (slot.error != nullptr) std::rethrow_exception(slot.error);
    if (for_gpu()) send_ahead();
    ++front_;  // frees the batch handed out before for filling
    work_.notify_all();
    lock.unlock();
    report_broken(slot);
    if (!for_gpu()) slot.kept = close_ranks(slot);
    const int64_t kept = slot.kept;
    if (for_gpu() && kept > 0) {
      batch.images = feed_->receive(static_cast<int>(received_ % DeviceFeed::kBuffers));
    } else if (kept < slot.rows) {
      mixer_.mix(slot.pixels, kept, epoch_, slot.batch, own_worker_->first_partner);
    }
    lock.lock();
    delivered_ += kept;
    if (kept == 0) continue;
    if (for_gpu()) {
      ++received_;
      send_ahead();
    }
    batch.index = slot.batch;
    if (!for_gpu()) batch.images = slot.images;
    batch.labels = slot.labels;
    batch.places.clear();
    for (int64_t row = 0; row < slot.rows; ++row) {
      if (slot.broken[static_cast<size_t>(row)] == 0) batch.places.push_back(slot.batch * batch_size() + row);
    }
    if (kept < slot.rows) {
      batch.labels = Tensor::empty({kept}, DType::int32);
      std::memcpy(batch.labels.data<int32_t>(), slot.classes, batch.labels.bytes());
      if (!for_gpu()) {
        batch.images = Tensor::empty({kept, options_.height, options_.width, options_.channels});
        std::memcpy(batch.images.data<float>(), slot.pixels, batch.images.bytes());
      }
    }
    mixer_.pair_labels(batch, epoch_);
    return true;
  }
}

}  // namespace striate
