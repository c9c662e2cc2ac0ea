#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/gpu/host/checked/faults.h"
#include "kernels/gpu/host/grid.h"

namespace striate::gpu::host::checked {

/// Requests to global memory. A request is what one instruction asks for in all lanes of a warp. (How often memory is
/// read again shows in bytes : block_bytes : launch_bytes.)
struct GlobalCounters {
  uint64_t requests = 0;
  uint64_t bytes = 0;          ///< different bytes of each request
  uint64_t block_bytes = 0;    ///< different bytes of each block; not known per line
  uint64_t launch_bytes = 0;   ///< different bytes of each launch; not known per line
  uint64_t sectors = 0;        ///< aligned 32-byte pieces that each request touches
  uint64_t ideal_sectors = 0;  ///< Σ over a request's contiguous runs of ceil(bytes / 32)
};

/// Requests to shared memory: 32 banks of 4 bytes.
struct SharedCounters {
  uint64_t requests = 0;
  uint64_t bytes = 0;
  uint64_t wavefronts = 0;        ///< passes: the most words that one bank is asked for; a quarter-warp at a time for
                                  ///< 16-byte accesses, a half-warp for 8-byte ones of more than 32 words
  uint64_t ideal_wavefronts = 0;  ///< ceil(different words / 32), by quarter-warp for 16-byte accesses
};

struct LineCounters {
  std::string file;
  int line = 0;
  GlobalCounters global_read, global_write;
  SharedCounters shared_read, shared_write;
};

struct KernelCounters {
  uint64_t launches = 0, blocks = 0;
  uint64_t grid_blocks = 0;                  ///< of the launches' grids; more than `blocks` under a BlockSample
  uint64_t barriers = 0;                     ///< __syncthreads(), once for all threads of a block
  uint64_t flops = 0;                        ///< of products, as the wrappers and the tiles count them
  GlobalCounters global_read, global_write;  ///< an atomic operation is a write
  SharedCounters shared_read, shared_write;
  std::vector<LineCounters> lines;  ///< by file and line
};

/// A launch as it was asked for.
struct LaunchRecord {
  std::string kernel;
  std::string function;  ///< that launched it, with its template arguments
  Dim3 grid;
  unsigned threads = 0;
  size_t shared_bytes = 0;  ///< dynamic
};

/// Groups the accesses of a warp's lanes into requests: the same instruction, for the same time in each lane since the
/// warp last came together. (The lanes run one after another.)
class Counters {
 public:
  bool on = false;
  uint64_t most_blocks = 0;  ///< of a launch that are run; 0: all

  void launch_begins(const Launch& launch, const std::string& kernel);
  void block_begins();
  void barrier();
  void block_synchronises();
  void warp_synchronises(unsigned warp, uint32_t lanes);
  void access(unsigned thread, uintptr_t address, size_t bytes, bool shared, bool write, Code code);
  void ldmatrix_row(unsigned thread, uintptr_t address, int matrices, Code code);
  void flops(uint64_t operations);
  /// `bytes` of global memory are used for the first time in this block, and in this launch.
  void first_use(bool write, unsigned bytes, bool in_launch);

  KernelCounters kernel(const std::string& name) const;
  std::vector<std::string> kernels() const;
  const std::vector<LaunchRecord>& launches() const { return launches_; }
  void clear();

 private:
  enum class Form : uint8_t { global, shared, matrix_rows };
  struct Request {
    uint32_t instruction = 0;
    uint32_t lanes = 0;
    uint8_t bytes[32] = {};
    uintptr_t address[32] = {};
  };
  struct Instruction {
    Code code;
    Form form;
    bool write;
    unsigned matrices;
    GlobalCounters global;
    SharedCounters shared;
  };
  struct Kernel {
    KernelCounters totals;
    std::vector<Instruction> instructions;
    std::unordered_map<uint64_t, uint32_t> by_key;
  };
  struct Executions {
    uint32_t of_lane[32] = {};
    std::vector<uint32_t> requests;  // the n-th execution's
  };
  struct Warp {
    std::vector<Executions> executions;  // by instruction
    std::vector<uint32_t> executed;      // the instructions that have some
    std::vector<Request> requests;       // without lanes: free
    std::vector<uint32_t> free;
  };

  void add(unsigned thread, uintptr_t address, size_t bytes, Form form, bool write, unsigned matrices, Code code);
  void count(const Request& request);
  void finish(Warp& warp);

  std::map<std::string, Kernel> kernels_;
  std::vector<LaunchRecord> launches_;
  Kernel* kernel_ = nullptr;
  std::vector<Warp> warps_;
  unsigned threads_ = 0;
};

/// Counts every launch while it lives; what was counted stays until the next one begins. One at a time.
class Counting {
 public:
  Counting();
  ~Counting();
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
};

/// While it lives, at most `blocks` of each launch's blocks are run, evenly spread: to count a launch that is too large
/// to be executed. What the kernels leave behind is then no result. One at a time.
class BlockSample {
 public:
  explicit BlockSample(uint64_t blocks);
  ~BlockSample();
  BlockSample(const BlockSample&) = delete;
  BlockSample& operator=(const BlockSample&) = delete;
};

/// What the last Counting saw of a kernel, named as in launch(). Throws Error for one that was not launched.
KernelCounters counters(const std::string& kernel);
/// The kernels that it saw, by name.
std::vector<std::string> counted_kernels();
/// The launches that it saw, in order.
const std::vector<LaunchRecord>& counted_launches();

}  // namespace striate::gpu::host::checked
