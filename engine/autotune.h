#pragma once

#include <string>

#include "kernels/gemm/tile_tuning.h"

namespace striate {

/// `train.autotune`: while it lives, the matrix products of device cuda take the tiles that were fastest when they were
/// timed, each at its first use, and the times' outcome is kept in a file for the next run. One at a time.
/// For a file that stays as it is, every run takes the same tiles, and so gives the same bits. (In a host build nothing
/// can be timed: what would be predicted is kept.)
class Autotune {
 public:
  /// Reads the file where there is one; only one that was written for this GPU and this version of the program counts.
  explicit Autotune(std::string path);
  ~Autotune();
  Autotune(const Autotune&) = delete;
  Autotune& operator=(const Autotune&) = delete;

  /// Writes the file, whole or not at all, where something was timed since it was read or written. Throws IoError.
  void save();
  /// A sentence about a file that is there and does not count, and why; empty else.
  const std::string& notice() const { return notice_; }
  const std::string& path() const { return path_; }
  const tile::TuningTable& table() const { return table_; }

 private:
  /// Why the file does not count, or nothing, with its tiles in the table.
  std::string read();

  const std::string path_;
  std::string notice_;
  tile::TuningTable table_;
  size_t written_ = 0;  ///< tiles in the file
};

/// striate/autotune-<GPU>.txt in $XDG_CACHE_HOME, or else in ~/.cache. Throws ConfigError where neither is known.
std::string autotune_path();

}  // namespace striate
