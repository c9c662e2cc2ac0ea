#pragma once

#include <cstddef>
#include <cstdint>

namespace striate::gpu::host::checked {

/// The last accesses to a word (4 bytes) of memory, or to one byte of a word that is accessed in parts. Moments are
/// numbered through the whole run: `interval` is the stretch between two barriers of a block, so a number tells launch,
/// block and stretch; `clock` counts the __syncwarp()s within it.
struct Cell {
  static constexpr uint16_t kAsync = 1;   ///< a cp.async that has not been waited for
  static constexpr uint16_t kAtomic = 2;  ///< the last write was an atomic operation
  static constexpr uint16_t kShared = 4;  ///< atomic operations of several threads of this interval
  static constexpr uint16_t kBlocks = 8;  ///< atomic operations of several blocks of this launch
  static constexpr uint16_t kSplit = 16;  ///< of a word: the cells of its bytes are the ones that count

  uint32_t write_interval = 0, write_site = 0, write_clock = 0;
  uint16_t write_thread = 0, flags = 0;

  // The last reader, with the lanes of its warp that read in the same interval and are not ordered before it.
  uint32_t read_interval = 0, read_site = 0, read_clock = 0, read_lanes = 0;
  uint16_t read_thread = 0;

  // A reader of another block of the launch or, where there is none, of another warp of the same interval.
  uint16_t other_thread = 0;
  uint32_t other_interval = 0, other_site = 0;
};

/// The cells of all of a process' memory, a page at a time and only where kernels have been.
class Shadow {
 public:
  /// The cell of the word with this address, and those of its four bytes (used only while it is split).
  struct Place {
    Cell* word;
    Cell* bytes;
  };
  Place at(uintptr_t address) {
    const uintptr_t page = address >> kPageBits;
    Page& recent = recent_[page % kRecent];
    if (page != recent.number || !recent.cells) recent = find(page);
    const size_t word = (address & (kPageBytes - 1)) / 4;
    return {recent.cells + word, recent.cells + kPageBytes / 4 + word * 4};
  }

  /// Gives memory back once it is much. Between launches only: all cells are forgotten.
  void trim();

 private:
  static constexpr int kPageBits = 16;
  static constexpr size_t kPageBytes = size_t{1} << kPageBits;
  static constexpr size_t kPageCells = kPageBytes / 4 + kPageBytes;

  struct Page {
    uintptr_t number;
    Cell* cells;
  };
  Page find(uintptr_t page);
  void grow();

  static constexpr size_t kRecent = 64;
  Page recent_[kRecent] = {};
  Page* table_ = nullptr;
  size_t capacity_ = 0, pages_ = 0;
};

}  // namespace striate::gpu::host::checked
