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

struct Loader::Worker {
  Image image;
  DevicePicture picture;
  TransformScratch scratch;
  std::vector<float> last;  // BatchMixer::mix()
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
  require<ConfigError>(options_.parts >= 1 && options_.part >= 0 && options_.part < options_.parts,
                       "loader: part {} of {}: expected one of 0 to {}", options_.part, options_.parts,
                       options_.parts - 1);
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
  const int64_t ahead = std::max<int64_t>(2, (2 * options_.workers * kClaim + most_rows() - 1) / most_rows());
  slots_.resize(static_cast<size_t>(1 + std::min(ahead, std::max<int64_t>(batches(), 1))));
  for (auto& slot : slots_) slot = std::make_unique<LoaderSlot>();
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

/// Of the part in any batch, the halo left aside; 1 where it is always empty.
int64_t Loader::most_rows() const {
  return std::max({int64_t{1}, part_rows(rows_of(0)).size(), part_rows(rows_of(batches() - 1)).size()});
}

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
    for (auto& slot : slots_) tensors(part_rows(batch_size()).size(), slot->own_images, slot->own_labels);
  }
  const int64_t rest = samples() % batch_size();
  if (rest != 0) tensors(part_rows(rest).size(), last_images_, last_labels_);
  if (for_gpu() && feed_ == nullptr) {
    const ImageBatchShape shape{.N = most_rows(),
                                .slot_h = options_.height,
                                .slot_w = options_.width,
                                .H = options_.height,
                                .W = options_.width,
                                .C = options_.channels,
                                .steps = device_share_.steps,
                                .has_contrast = device_share_.has_contrast,
                                .halo = mixer_.is_on() && options_.parts > 1 ? 1 : 0};
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
  LoaderSlot& slot = slot_of(fill_batch_);
  if (fill_row_ == 0) {
    const int64_t rows = rows_of(fill_batch_);
    const Range part = part_rows(rows);
    const bool wants_halo = mixer_.is_on() && part.size() > 0 && part.size() < rows;
    if (rows == batch_size()) {
      slot.begin(fill_batch_, part, wants_halo, slot.own_images, slot.own_labels);
    } else {
      slot.begin(fill_batch_, part, wants_halo, last_images_, last_labels_);
    }
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

void Loader::fill_row(LoaderSlot& slot, int64_t row, Worker& worker) {
  if (slot.is_halo(row)) return fill_halo(slot, worker);
  const int64_t sample = order_[static_cast<size_t>(place_of(slot, row))];
  slot.classes[row] = set_.dataset->label(sample);
  fill_with(slot, row, sample, worker);
}

/// Takes the picture before the part's first one, round the end of the batch, or before that the first one that is
/// good.
void Loader::fill_halo(LoaderSlot& slot, Worker& worker) {
  const int64_t rows = rows_of(slot.batch), others = rows - slot.part.size();
  for (int64_t back = 1;; ++back) {
    const int64_t row = (slot.part.begin + rows - back) % rows;
    const int64_t sample = order_[static_cast<size_t>(slot.batch * batch_size() + row)];
    slot.halo_class = set_.dataset->label(sample);
    try {
      return fill_with(slot, slot.part.size(), sample, worker);
    } catch (const IoError&) {
      if (!options_.skip_broken || back == others) throw;
    }
  }
}

void Loader::fill_with(LoaderSlot& slot, int64_t row, int64_t sample, Worker& worker) {
  if (slot.pinned != nullptr) return fill_for_device(slot, row, sample, worker);
  Image& image = worker.image;
  load_transformed(*set_.dataset, sample, set_.transforms, options_.seed, epoch_, image, worker.scratch,
                   options_.may_reduce);
  check_size(sample, {image.height, image.width, image.channels});
  const int64_t values = static_cast<int64_t>(image.pixels.size());
  const bool streamed = slot.rows * values * int64_t{sizeof(float)} >= kPastTheCaches;
  normalizer_.apply(image, streamed, slot.pixels_of(row, values));
}

void Loader::fill_for_device(LoaderSlot& slot, int64_t row, int64_t sample, Worker& worker) {
  slot.pinned->wait_until_fetched();
  LevelPlan plan(slot.pinned->steps(row));
  load_for_device(*set_.dataset, sample, set_.transforms, device_share_, options_.seed, epoch_,
                  {0, 0, options_.height, options_.width}, worker.picture, plan, worker.scratch, options_.may_reduce);
  check_size(sample, worker.picture.seen);
  slot.pinned->put(row, worker.picture);
}

void Loader::fill(const Claim& claim, Worker& worker) {
  LoaderSlot& slot = *claim.slot;
  for (int64_t row = claim.begin; row < claim.end; ++row) {
    try {
      fill_row(slot, row, worker);
    } catch (const IoError& error) {
      const std::lock_guard lock(mutex_);
      if (options_.skip_broken) {
        slot.mark_broken(row, error.what());
      } else {
        slot.keep_error(row, std::make_exception_ptr(broken_image(error)));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      slot.keep_error(row, std::current_exception());
    }
  }
}

void Loader::finish(const Claim& claim, Worker& worker, std::unique_lock<std::mutex>& lock) {
  LoaderSlot& slot = *claim.slot;
  slot.loaded += claim.end - claim.begin;
  const bool is_last = slot.loaded == slot.rows;
  // Where rows are broken next() mixes what is left.
  if (is_last && mixer_.is_on() && !for_gpu() && slot.messages.empty() && slot.error == nullptr) {
    lock.unlock();
    mix(slot, slot.part.size(), worker);
    lock.lock();
  }
  slot.is_finished = is_last;
  --in_flight_;
  if (is_last && for_gpu() && !stop_) {
    try {
      send_ahead();
    } catch (...) {
      slot.error = std::current_exception();
    }
  }
  if (in_flight_ == 0 || is_last) done_.notify_all();
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
  const LoaderSlot& slot = slot_of(front_);
  const auto is_ready = [&] { return slot.batch == front_ && slot.is_finished; };
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
    LoaderSlot& slot = slot_of(next_to_send_);
    if (slot.batch != next_to_send_ || !slot.is_finished || slot.error != nullptr) return;
    slot.close_ranks();
    if (slot.kept == 0) continue;
    if (sent_ - received_ == DeviceFeed::kBuffers) return;
    feed_->send(static_cast<int>(sent_ % DeviceFeed::kBuffers), *slot.pinned, *slot.kept, slot.mixed() - *slot.kept,
                mixer_.mix_of(slot.mixed(), epoch_, slot.batch));
    ++sent_;
  }
}

/// On the host.
void Loader::mix(LoaderSlot& slot, int64_t rows, Worker& worker) const {
  mixer_.mix(slot.pixels, rows, slot.has_halo() ? slot.halo_pixels.data() : nullptr, epoch_, slot.batch, worker.last);
}

void Loader::report_broken(const LoaderSlot& slot) {
  if (slot.messages.empty()) return;
  for (int64_t row = 0; row < slot.part.size(); ++row) {
    if (slot.broken[static_cast<size_t>(row)] == 0) continue;
    const int64_t sample = order_[static_cast<size_t>(place_of(slot, row))];
    const auto& message = slot.messages[static_cast<size_t>(row)];
    if (reported_.emplace(sample, message).second && options_.on_broken) options_.on_broken(message);
  }
}

/// Whether no picture of the epoch that ends can be read. Those of other parts are tried where all of its own are
/// broken: the whole batches are what must not be empty.
bool Loader::is_all_broken() {
  if (delivered_ > 0 || first_batch_ > 0 || reported_.empty()) return false;
  return std::all_of(order_.begin(), order_.end(), [&](int64_t sample) {
    if (reported_.count(sample) > 0) return true;
    try {
      load_transformed(*set_.dataset, sample, set_.transforms, options_.seed, epoch_, own_worker_->image,
                       own_worker_->scratch, options_.may_reduce);
    } catch (const IoError&) {
      return true;
    }
    return false;
  });
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  require<Error>(started_, "loader: next() before start()");
  for (;;) {
    if (front_ == batches()) {
      require<IoError>(!is_all_broken(), "every image is broken; the last: {}",
                       reported_.empty() ? "" : reported_.rbegin()->second);
      if (!options_.keeps_device_memory) feed_.reset();
      return false;
    }
    wait_for_front(lock);
    LoaderSlot& slot = slot_of(front_);
    if (slot.error != nullptr) std::rethrow_exception(slot.error);
    if (for_gpu()) send_ahead();
    ++front_;  // frees the batch handed out before for filling
    work_.notify_all();
    lock.unlock();
    report_broken(slot);
    if (!for_gpu()) {
      slot.close_ranks();
      if (!slot.messages.empty()) mix(slot, *slot.kept, *own_worker_);
    }
    const int64_t kept = *slot.kept;
    if (for_gpu() && kept > 0) batch.images = feed_->receive(static_cast<int>(received_ % DeviceFeed::kBuffers));
    lock.lock();
    delivered_ += kept;
    if (for_gpu() && kept > 0) {
      ++received_;
      send_ahead();
    }
    if (kept == 0 && options_.parts == 1) continue;
    deliver(slot, batch);
    return true;
  }
}

/// All of a batch but the images that are on the GPU.
void Loader::deliver(const LoaderSlot& slot, Batch& batch) {
  batch.index = slot.batch;
  if (!for_gpu()) {
    batch.images = slot.kept_images();
  } else if (slot.kept == 0) {
    batch.images =
        Tensor::empty({0, options_.height, options_.width, options_.channels}, options_.dtype, options_.device);
  }
  batch.labels = slot.kept_labels();
  batch.places.clear();
  for (int64_t row = 0; row < slot.part.size(); ++row) {
    if (slot.broken[static_cast<size_t>(row)] == 0) batch.places.push_back(place_of(slot, row));
  }
  // What an empty part does not know is said as if no picture of the others were broken.
  const bool is_mixed = slot.kept == 0 ? rows_of(slot.batch) > 1 : slot.mixed() > 1;
  mixer_.pair_labels(batch, slot.has_halo() ? std::optional(slot.halo_class) : std::nullopt, is_mixed, epoch_);
}

}  // namespace striate
