#include "kernels/gpu/host/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <boost/context/preallocated.hpp>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace striate::gpu::host {

namespace {

// A kernel's own frames are small; instrumented ones and a report's formatting need more.
constexpr size_t kStackBytes = size_t{128} << 10;

/// The stack belongs to the Fiber, not to the context on it.
struct Borrowed {
  void deallocate(boost::context::stack_context&) {}
};

size_t page() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

#if defined(__SANITIZE_ADDRESS__)
// Who transferred last on this thread: the sanitizer tells the bounds of its stack on arrival.
thread_local Fiber* departed = nullptr;
#endif

}  // namespace

Fiber::Fiber(void (*function)(void*), void* argument) : function_(function), argument_(argument) {
  stack_ =
      mmap(nullptr, kStackBytes + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
  // Stacks grow downwards: running over ends in this page instead of in a neighbour's stack.
  mprotect(stack_, page(), PROT_NONE);
  bottom_ = static_cast<char*>(stack_) + page();
  size_ = kStackBytes;
  // Stacks that all began at the same offset of a page would fight for the same few sets of the cache.
  static std::atomic<size_t> count{0};
  constexpr size_t kLine = 64;
  const size_t unused = count.fetch_add(1, std::memory_order_relaxed) * 7 * kLine % 4096;
  boost::context::stack_context context;
  context.size = kStackBytes - unused;
  context.sp = static_cast<char*>(stack_) + page() + context.size;
  place_ = boost::context::fiber(std::allocator_arg, boost::context::preallocated(context.sp, context.size, context),
                                 Borrowed{}, [this](boost::context::fiber&& none) {
                                   arrive();
                                   function_(argument_);
                                   return std::move(none);
                                 });
}

Fiber::~Fiber() {
  if (!stack_) return;
  // Forgotten, not unwound: all that it owns lies on the stack, whose frames hold nothing but the scheduler's, and the
  // address sanitizer can't follow an exception there that nobody transferred to.
  alignas(boost::context::fiber) std::byte forgotten[sizeof(boost::context::fiber)];
  new (forgotten) boost::context::fiber(std::move(place_));
  munmap(stack_, kStackBytes + page());
}

void Fiber::arrive() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_, &departed->bottom_, &departed->size_);
#endif
}

void Fiber::transfer(Fiber& from, Fiber& to) {
  if (&from == &to) return;
#if defined(__SANITIZE_ADDRESS__)
  departed = &from;
  __sanitizer_start_switch_fiber(&from.fake_, to.bottom_, to.size_);
#endif
  std::move(to.place_).resume_with([&from](boost::context::fiber&& left) {
    from.place_ = std::move(left);
    return boost::context::fiber();
  });
  from.arrive();
}

}  // namespace striate::gpu::host
