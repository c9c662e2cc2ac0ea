// What instrumented kernels call: the interface of -fsanitize=thread as g++ emits it, answered by our own checker
// instead of the sanitizer's library; what the wrappers report; and what the scheduler does.
#include <cstddef>
#include <cstdint>

#include "kernels/gpu/host/checked/checker.h"
#include "kernels/gpu/host/checker.h"
#include "kernels/gpu/host/checker_events.h"

#include <mutex>

namespace striate::gpu::host {

namespace {

using checked::checker;
using checked::Kind;

// Set while a thread of a kernel runs its own code. Inline functions of the standard library that the linker took from
// an instrumented file may call back from within the checker: they find it unset.
thread_local bool in_kernel = false;
// Whether the kernel under way is instrumented. One that is not, in a .cpp file of the tests, is not judged by the few
// accesses that its wrappers report.
bool checked_launch = false;

std::mutex launching;

/// Local variables and the kernel's arguments: on a GPU in registers, local memory and the constant bank.
bool is_local(uintptr_t address) {
  const checked::Checker& c = checker();
  return address - c.stack_begin < c.stack_bytes || address - c.arguments_begin < c.arguments_bytes;
}

void access(const volatile void* p, size_t bytes, Kind kind, const void* return_address) {
  if (!in_kernel) return;
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (is_local(address)) return;
  in_kernel = false;
  checker().access(address, bytes, kind, checked::code_of(return_address));
  in_kernel = true;
}

}  // namespace

void register_allocation(const void* p, size_t bytes, const char* name) {
  const std::lock_guard lock(launching);
  checker().add_allocation(reinterpret_cast<uintptr_t>(p), bytes, name);
}

void unregister_allocation(const void* p) {
  const std::lock_guard lock(launching);
  checker().remove_allocation(reinterpret_cast<uintptr_t>(p));
}

void report_read(const void* p, size_t bytes) { access(p, bytes, Kind::read, __builtin_return_address(0)); }
void report_write(const void* p, size_t bytes) { access(p, bytes, Kind::write, __builtin_return_address(0)); }

void report_async_issued(const void* shared, size_t bytes, const void* global, size_t global_bytes) {
  if (!checked_launch) return;
  const checked::Code code = checked::code_of(__builtin_return_address(0));
  const events::Pause pause;
  checker().async_copy(reinterpret_cast<uintptr_t>(shared), bytes, reinterpret_cast<uintptr_t>(global), global_bytes,
                       code);
}

void report_async_landed(const void* shared, size_t bytes) {
  if (!checked_launch) return;
  const events::Pause pause;
  checker().async_landed(reinterpret_cast<uintptr_t>(shared), bytes);
}

void report_ldmatrix(const void* row, int matrices) {
  if (!checked_launch) return;
  const checked::Code code = checked::code_of(__builtin_return_address(0));
  const events::Pause pause;
  checker().ldmatrix(reinterpret_cast<uintptr_t>(row), matrices, code);
}

void count_flops(uint64_t operations) {
  if (!checked_launch) return;
  const events::Pause pause;
  checker().counters().flops(operations);
}

namespace events {

void launch_begins(const Launch& launch, const char* kernel) {
  launching.lock();
  checked_launch = launch.instrumented;
  checker().launch_begins(launch, kernel);
}

void launch_ends() {
  checker().launch_ends();
  launching.unlock();
}

uint64_t blocks_to_run(uint64_t blocks) {
  const uint64_t most = checker().counters().most_blocks;
  return most == 0 || most > blocks ? blocks : most;
}

uint64_t block_to_run(uint64_t n, uint64_t of, uint64_t blocks) {
  return of == blocks ? n : (2 * n + 1) * blocks / (2 * of);
}

void block_begins(const Dim3& index) { checker().block_begins(index); }
void block_ends() { checker().block_ends(); }

void shared_window(const void* p, size_t bytes) { checker().shared_window(reinterpret_cast<uintptr_t>(p), bytes); }

void shared_part(const void* p, size_t bytes, const char* name) {
  checker().shared_part(reinterpret_cast<uintptr_t>(p), bytes, name);
}

void stack_is(const void* low, size_t bytes) {
  checker().stack_begin = reinterpret_cast<uintptr_t>(low);
  checker().stack_bytes = bytes;
}

void thread_runs(unsigned linear) {
  checker().thread = linear;
  in_kernel = checked_launch;
}

void thread_ends() { in_kernel = false; }

Pause::Pause() : in_kernel_(in_kernel), thread_(checker().thread) { in_kernel = false; }

Pause::~Pause() {
  in_kernel = in_kernel_;
  checker().thread = thread_;
}

void barrier() { checker().barrier(); }

void lanes_meet(unsigned warp, uint32_t lanes, bool orders_memory) {
  if (orders_memory) checker().sync_lanes(warp, lanes);
  checker().lanes_meet(warp, lanes);
}

}  // namespace events

}  // namespace striate::gpu::host

using striate::gpu::host::access;
using striate::gpu::host::checked::Kind;

#pragma GCC diagnostic ignored "-Wpedantic"  // names that begin with two underscores are the sanitizer's to give

#define STRIATE_ACCESS(name, bytes, kind) \
  void __tsan_##name(void* p) { access(p, bytes, Kind::kind, __builtin_return_address(0)); }

// Atomic operations are the builtins' own; the order that the kernel asks for is within the strongest.
#define STRIATE_ATOMIC(bits, type)                                                                            \
  type __tsan_atomic##bits##_load(const volatile type* p, int) {                                              \
    access(p, sizeof(type), Kind::read, __builtin_return_address(0));                                         \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                              \
  }                                                                                                           \
  void __tsan_atomic##bits##_store(volatile type* p, type value, int) {                                       \
    access(p, sizeof(type), Kind::atomic, __builtin_return_address(0));                                       \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                           \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type value, int, int) { \
    access(p, sizeof(type), Kind::atomic, __builtin_return_address(0));                                       \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
  }                                                                                                           \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type value, int, int) {   \
    access(p, sizeof(type), Kind::atomic, __builtin_return_address(0));                                       \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
  }                                                                                                           \
  STRIATE_ATOMIC_UPDATE(bits, type, exchange, __atomic_exchange_n)                                            \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_add, __atomic_fetch_add)                                            \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_sub, __atomic_fetch_sub)                                            \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_and, __atomic_fetch_and)                                            \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_or, __atomic_fetch_or)                                              \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_xor, __atomic_fetch_xor)                                            \
  STRIATE_ATOMIC_UPDATE(bits, type, fetch_nand, __atomic_fetch_nand)

#define STRIATE_ATOMIC_UPDATE(bits, type, name, builtin)                 \
  type __tsan_atomic##bits##_##name(volatile type* p, type value, int) { \
    access(p, sizeof(type), Kind::atomic, __builtin_return_address(0));  \
    return builtin(p, value, __ATOMIC_SEQ_CST);                          \
  }

extern "C" {

void __tsan_init() {}

STRIATE_ACCESS(read1, 1, read)
STRIATE_ACCESS(read2, 2, read)
STRIATE_ACCESS(read4, 4, read)
STRIATE_ACCESS(read8, 8, read)
STRIATE_ACCESS(read16, 16, read)
STRIATE_ACCESS(write1, 1, write)
STRIATE_ACCESS(write2, 2, write)
STRIATE_ACCESS(write4, 4, write)
STRIATE_ACCESS(write8, 8, write)
STRIATE_ACCESS(write16, 16, write)
STRIATE_ACCESS(unaligned_read2, 2, read)
STRIATE_ACCESS(unaligned_read4, 4, read)
STRIATE_ACCESS(unaligned_read8, 8, read)
STRIATE_ACCESS(unaligned_read16, 16, read)
STRIATE_ACCESS(unaligned_write2, 2, write)
STRIATE_ACCESS(unaligned_write4, 4, write)
STRIATE_ACCESS(unaligned_write8, 8, write)
STRIATE_ACCESS(unaligned_write16, 16, write)
STRIATE_ACCESS(vptr_read, sizeof(void*), read)

void __tsan_vptr_update(void** p, void*) { access(p, sizeof(*p), Kind::write, __builtin_return_address(0)); }
void __tsan_read_range(void* p, size_t bytes) { access(p, bytes, Kind::read, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t bytes) { access(p, bytes, Kind::write, __builtin_return_address(0)); }

STRIATE_ATOMIC(8, uint8_t)
STRIATE_ATOMIC(16, uint16_t)
STRIATE_ATOMIC(32, uint32_t)
STRIATE_ATOMIC(64, uint64_t)
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

// What memcpy, memmove and memset of an instrumented file are bound to (checked/mem_functions.h).
void* striate_checked_memcpy(void* to, const void* from, size_t bytes) {
  access(from, bytes, Kind::read, __builtin_return_address(0));
  access(to, bytes, Kind::write, __builtin_return_address(0));
  return __builtin_memcpy(to, from, bytes);
}

void* striate_checked_memmove(void* to, const void* from, size_t bytes) {
  access(from, bytes, Kind::read, __builtin_return_address(0));
  access(to, bytes, Kind::write, __builtin_return_address(0));
  return __builtin_memmove(to, from, bytes);
}

void* striate_checked_memset(void* to, int value, size_t bytes) {
  access(to, bytes, Kind::write, __builtin_return_address(0));
  return __builtin_memset(to, value, bytes);
}

}  // extern "C"
