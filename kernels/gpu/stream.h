#pragma once

#include "kernels/gpu/work.h"

namespace striate::gpu {

class Event;
struct Recording;

/// An order of work on the GPU: kernels and copies given to one stream run one after another. Move-only.
/// In a host build work has been done when the call that asked for it returns.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept : native_(other.native_), counts_(other.counts_) { other.native_ = nullptr; }
  Stream& operator=(Stream&&) = delete;

  /// Waits for all work in it. Throws CudaError for a failure of any of it.
  void synchronize();
  /// What is given to this stream from now on waits for the event; the host does not.
  void wait(const Event& event);
  /// The cudaStream_t; null in a host build.
  void* native() const { return native_; }

  /// What it was given to do since it was made.
  const WorkCounts& counts() const { return counts_; }
  /// Where a GraphCapture records what it is given; null where none does.
  Recording* recording() const { return recording_; }
  /// Counts the work or, while the stream is captured, writes it down. For launch(), copy() and set() alone.
  void take(const Work& work);
  /// Counts a graph's work at its replay.
  void count(const WorkCounts& work) { counts_.add(work); }

 private:
  friend class GraphCapture;
  void* native_ = nullptr;
  Recording* recording_ = nullptr;
  WorkCounts counts_;
};

/// A point in a stream's work. Move-only.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : native_(other.native_), seconds_(other.seconds_), captured_(other.captured_) {
    other.native_ = nullptr;
  }
  Event& operator=(Event&&) = delete;

  /// Marks what the stream has been given so far.
  void record(Stream& stream);
  /// Waits until the marked work is done.
  void synchronize() const;
  /// Time on the GPU from `start` to this event, both recorded and done. In a host build the wall clock's.
  float milliseconds_since(const Event& start) const;
  /// The cudaEvent_t; null in a host build.
  void* native() const { return native_; }

 private:
  void* native_ = nullptr;
  double seconds_ = 0.0;   // of the host's steady clock, in a host build
  bool captured_ = false;  // in a host build: recorded last while its stream was captured
  friend class Stream;
};

}  // namespace striate::gpu
