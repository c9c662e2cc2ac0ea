#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <span>

namespace striate::gpu::host {

/// A place where a thread of the operating system can be: a stack of its own, or the stack it came with. transfer()
/// goes from one straight to another.
class Fiber {
 public:
  /// The stack of whoever transfers away from it first.
  Fiber() = default;
  /// A stack of its own; the first transfer to it calls function(argument), which must not return.
  Fiber(void (*function)(void* argument), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Goes on in `to`, where that was left; returns when somebody transfers to `from`, which must be where we are.
  static void transfer(Fiber& from, Fiber& to);

  /// Its own stack; empty for the one it came with.
  std::span<const std::byte> stack() const { return {static_cast<const std::byte*>(bottom_), size_}; }

 private:
  void arrive();
  boost::context::fiber place_;
  void* stack_ = nullptr;
  void (*function_)(void*) = nullptr;
  void* argument_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] void* fake_ = nullptr;  // the address sanitizer's
};

}  // namespace striate::gpu::host
