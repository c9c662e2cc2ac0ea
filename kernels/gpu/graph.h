#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/gpu/stream.h"
#include "kernels/gpu/work.h"

namespace striate::gpu {

/// What a stream was given while it was captured, in its order, to be given again as one launch. It holds the arguments
/// by value: pointers among them must stay good as long as it is replayed. Move-only.
class Graph {
 public:
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  /// Gives all of it to the stream. Throws CudaError where the stream is being captured.
  void replay(Stream& stream) const;
  /// In order; without what a vendor's library launched.
  const std::vector<Work>& work() const;
  /// Kernels, copies and sets, those of a vendor's library included.
  size_t size() const;

 private:
  friend class GraphCapture;
  struct Content;
  explicit Graph(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

/// What may be done while a stream is captured. `relaxed`: device memory may be got and given back, too, so that the
/// work can be looked at without doing any of it first; it is not to be replayed where memory was given back.
enum class CaptureMode { strict, relaxed };

/// While one lives, what this thread gives to the stream is recorded and not done. What cannot be recorded throws
/// CudaError, in a host build as with a GPU, and spoils the capture: waiting for the stream or its events, getting or
/// giving back device memory, copies from or to memory of the host that is not pinned.
class GraphCapture {
 public:
  /// The stream stays where it is until the end. Throws CudaError where it is being captured already.
  explicit GraphCapture(Stream& stream, CaptureMode mode = CaptureMode::strict);
  /// Without finish(): forgets what was recorded.
  ~GraphCapture();
  GraphCapture(const GraphCapture&) = delete;
  GraphCapture& operator=(const GraphCapture&) = delete;

  /// Throws CudaError where something spoiled the capture; nothing is being captured any more afterwards either way.
  Graph finish();

 private:
  Stream& stream_;
  std::unique_ptr<Recording> recording_;
};

/// What is recorded while a stream is captured; for launch(), copy() and set() alone.
struct Recording {
  std::vector<Work> work;
  std::vector<std::function<void()>> steps;  ///< host build: each of `work`, to be done at a replay
  bool spoiled = false;                      ///< host build
  bool relaxed = false;                      ///< host build
};

/// Host build: the capture of this thread; null where there is none.
Recording* recording_of_this_thread();
/// Host build: what cudaErrorStreamCaptureUnsupported says, of `call`, where this thread captures; it spoils the
/// capture. Throws CudaError.
void refuse_while_capturing(const char* call);
/// The same of a call that a relaxed capture takes.
void refuse_unless_relaxed(const char* call);

}  // namespace striate::gpu
