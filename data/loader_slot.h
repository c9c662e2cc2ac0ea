#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/device_feed.h"
#include "engine/distributed/part_of.h"
#include "engine/tensor.h"

namespace striate {

/// A batch in the making, of which a Loader has a few in turn. Its rows are those of the loader's part of the batch,
/// and where the part is mixed one more behind them: the halo, the good picture that is before the part's first one in
/// the batch, with which that is mixed. Not guarded: its loader's mutex is, but for rows that one worker fills.
struct LoaderSlot {
  Tensor own_images, own_labels;
  Tensor images, labels;  // own ones, or those of the smaller last batch
  float* pixels = nullptr;
  std::unique_ptr<PinnedBatch> pinned;  // instead of images, for a GPU
  int32_t* classes = nullptr;
  std::vector<float> halo_pixels;  // on the host
  int32_t halo_class = 0;

  int64_t batch = -1;
  Range part;        // of the batch's rows
  int64_t rows = 0;  // to be loaded
  int64_t loaded = 0;
  bool is_finished = false;           // loaded and mixed
  std::optional<int64_t> kept;        // of the part's rows, after close_ranks()
  std::vector<uint8_t> broken;        // a flag a row; each written by one worker
  std::vector<std::string> messages;  // of the broken rows; empty where none is
  std::exception_ptr error;           // that of the first bad row, so that it is the same for any number of workers
  int64_t error_row = 0;

  /// Begins to load a batch; `wants_halo` is for a part that is not empty.
  void begin(int64_t batch_index, const Range& part_rows, bool wants_halo, const Tensor& into_images,
             const Tensor& into_labels);
  bool is_halo(int64_t row) const { return row == part.size(); }
  /// Once loaded: whether there is one, all others of the batch perhaps being broken.
  bool has_halo() const { return rows > part.size() && broken.back() == 0; }
  /// Where a row's values go, on the host.
  float* pixels_of(int64_t row, int64_t values);
  void mark_broken(int64_t row, const char* message);
  void keep_error(int64_t row, std::exception_ptr what);

  /// Once loaded: moves the part's good rows up to where broken ones are, and on a GPU's way the halo behind them.
  void close_ranks();
  /// Pictures that are mixed: the part's good ones and the halo.
  int64_t mixed() const { return *kept + (has_halo() ? 1 : 0); }
  /// The good rows' values, after close_ranks(): those of the slot, or a copy where they are fewer.
  Tensor kept_images() const { return first_kept<float>(images); }
  Tensor kept_labels() const { return first_kept<int32_t>(labels); }

 private:
  template <typename T>
  Tensor first_kept(const Tensor& all) const;
};

}  // namespace striate
