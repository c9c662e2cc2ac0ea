#pragma once

#include <cstddef>
#include <cstdint>

// What device memory and the PTX wrappers tell the checking build (preset host-race). Plain loads, stores and atomics
// of a kernel are seen without help; these are what the compiler cannot see. In every other build they are empty. A
// report's source line is found from the return address, so whoever calls one of these for a kernel is __forceinline__
// up to the kernel.
namespace striate::gpu::host {

#if defined(STRIATE_CHECKED_HOST)

/// Memory that kernels may use; an access to the device arena outside all of it is reported. `name` is copied. Its
/// neighbour should be some hundred bytes away, so that an overrun doesn't end in it.
void register_allocation(const void* p, size_t bytes, const char* name);
void unregister_allocation(const void* p);

/// The current thread reads or writes these bytes, in code that is compiled without instrumentation.
void report_read(const void* p, size_t bytes);
void report_write(const void* p, size_t bytes);

/// cp.async as the current thread issues it: from here on `shared` counts as being written; `global_bytes` of `global`
/// are read (fewer than `bytes`: the rest is zero-filled).
void report_async_issued(const void* shared, size_t bytes, const void* global, size_t global_bytes);
/// The current thread has waited for this copy of its own. Others may read it after a barrier.
void report_async_landed(const void* shared, size_t bytes);

/// ldmatrix of 1, 2 or 4 matrices: every lane, before the lanes meet, with its own row's address. What lanes from
/// 8·matrices on give is not read.
void report_ldmatrix(const void* row, int matrices);

/// Floating-point operations; a multiply-add is two. One lane counts for its warp, or each lane for itself.
void count_flops(uint64_t operations);

#else

inline void register_allocation(const void*, size_t, const char*) {}
inline void unregister_allocation(const void*) {}
inline void report_read(const void*, size_t) {}
inline void report_write(const void*, size_t) {}
inline void report_async_issued(const void*, size_t, const void*, size_t) {}
inline void report_async_landed(const void*, size_t) {}
inline void report_ldmatrix(const void*, int) {}
inline void count_flops(uint64_t) {}

#endif

}  // namespace striate::gpu::host
