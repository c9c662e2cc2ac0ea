#include "kernels/gpu/host/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/preallocated.hpp>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(...) ((void)0)
#define __sanitizer_finish_switch_fiber(...) ((void)0)
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

}  // namespace

Fiber::Fiber() {
  stack_ =
      mmap(nullptr, kStackBytes + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
  // Stacks grow downwards: running over ends in this page instead of in a neighbour's stack.
  mprotect(stack_, page(), PROT_NONE);
}

Fiber::~Fiber() {
  // Unwinds a fiber that waits in suspend(): its frames hold nothing but the scheduler's.
  inside_ = boost::context::fiber();
  munmap(stack_, kStackBytes + page());
}

void Fiber::start(void (*function)(void*), void* argument) {
  function_ = function;
  argument_ = argument;
  started_ = true;
  boost::context::stack_context context;
  context.size = kStackBytes;
  context.sp = static_cast<char*>(stack_) + page() + kStackBytes;
  inside_ = boost::context::fiber(std::allocator_arg, boost::context::preallocated(context.sp, context.size, context),
                                  Borrowed{}, [this](boost::context::fiber&& outside) {
                                    outside_ = std::move(outside);
                                    enter();
                                    return std::move(outside_);
                                  });
}

void Fiber::enter() {
  __sanitizer_finish_switch_fiber(nullptr, &outside_bottom_, &outside_size_);
  function_(argument_);
}

void Fiber::resume() {
  __sanitizer_start_switch_fiber(&fake_outside_, static_cast<char*>(stack_) + page(), kStackBytes);
  inside_ = std::move(inside_).resume();
  __sanitizer_finish_switch_fiber(fake_outside_, nullptr, nullptr);
}

void Fiber::suspend() {
  __sanitizer_start_switch_fiber(&fake_inside_, outside_bottom_, outside_size_);
  outside_ = std::move(outside_).resume();
  __sanitizer_finish_switch_fiber(fake_inside_, &outside_bottom_, &outside_size_);
}

}  // namespace striate::gpu::host
