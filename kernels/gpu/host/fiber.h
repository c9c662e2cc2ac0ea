#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>

namespace striate::gpu::host {

/// A stack with a switch to it and back. The function given to the first resume() runs on it; suspend(), called from
/// there, returns to whoever resumed. The function must not return.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  bool started() const { return started_; }
  void start(void (*function)(void* argument), void* argument);
  void resume();
  void suspend();

 private:
  void enter();
  boost::context::fiber inside_, outside_;
  void* stack_;
  bool started_ = false;
  void (*function_)(void*) = nullptr;
  void* argument_ = nullptr;
  // The address sanitizer's view of the two stacks.
  void *fake_inside_ = nullptr, *fake_outside_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_size_ = 0;
};

}  // namespace striate::gpu::host
