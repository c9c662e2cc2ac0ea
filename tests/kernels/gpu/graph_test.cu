// What is captured of a stream, and what cannot be: the same with a GPU and without.
#include "kernels/gpu/graph.h"

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/gpu/launch.h"
#include "kernels/gpu/memory.h"
#include "tests/support/error.h"

namespace striate::gpu {
namespace {

struct Step {
  int factor, summand;
};

__global__ void affine_kernel(int* x, Step step, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = x[i] * step.factor + step.summand;
}

constexpr int kCount = 40;
constexpr size_t kBytes = kCount * sizeof(int);

/// Memory that the host and a GPU both see, and a stream.
class GraphTest : public testing::Test {
 protected:
  GraphTest() { fill(0); }
  ~GraphTest() override {
    for (int* memory : {x_, y_}) release(memory, MemoryKind::managed);
  }

  void fill(int value) {
    for (int i = 0; i < kCount; ++i) x_[i] = y_[i] = value;
  }
  void give(Step step) { launch(affine_kernel, 2, 32, 0, stream_, x_, step, kCount); }
  std::vector<int> x() {
    stream_.synchronize();
    return {x_, x_ + kCount};
  }
  static std::vector<int> all(int value) { return std::vector<int>(kCount, value); }

  Stream stream_;
  int* x_ = static_cast<int*>(allocate(kBytes, MemoryKind::managed));
  int* y_ = static_cast<int*>(allocate(kBytes, MemoryKind::managed));
};

TEST_F(GraphTest, DoesAtEachReplayWhatWasCapturedWithTheArgumentsOfThatTime) {
  Step step{3, 1};
  GraphCapture capture(stream_);
  give(step);
  step = {7, 7};
  set(y_, 0, kBytes, stream_);
  copy(y_, x_, kBytes / 2, stream_);
  give({1, 10});
  const Graph graph = capture.finish();
  EXPECT_EQ(x(), all(0));  // nothing was done

  y_[0] = y_[kCount - 1] = 99;
  graph.replay(stream_);
  EXPECT_EQ(x(), all(11));
  EXPECT_EQ(y_[0], 1);  // between the kernels
  EXPECT_EQ(y_[kCount - 1], 0);
  graph.replay(stream_);
  graph.replay(stream_);
  EXPECT_EQ(x(), all(((1 + 10) * 3 + 11) * 3 + 11));
}

TEST_F(GraphTest, GoesOnInTheStreamsOrder) {
  fill(1);
  GraphCapture capture(stream_);
  give({2, 0});
  const Graph graph = capture.finish();
  give({1, 4});
  graph.replay(stream_);
  give({1, 1});
  graph.replay(stream_);
  EXPECT_EQ(x(), all(22));
}

TEST_F(GraphTest, CountsWhatAStreamWasGivenAndNamesWhatAGraphHolds) {
  give({1, 1});
  copy(y_, x_, kBytes, stream_);
  copy(y_, x_, 0, stream_);  // nothing
  set(y_, 1, 12, stream_);
  set(y_, 1, 12, stream_);
  const WorkCounts before = stream_.counts();
  EXPECT_EQ(before.launches, 1);
  EXPECT_EQ(before.copies, 1);
  EXPECT_EQ(before.sets, 2);
  EXPECT_EQ(before.all(), 4);
  EXPECT_EQ(before.copied_bytes, static_cast<int64_t>(kBytes));
  EXPECT_EQ(before.set_bytes, 24);

  GraphCapture capture(stream_);
  set(x_, 0, 8, stream_);
  give({1, 1});
  give({1, 1});
  copy(y_, x_, kBytes, stream_);
  const Graph graph = capture.finish();
  EXPECT_EQ((stream_.counts() - before).all(), 0);
  graph.replay(stream_);
  graph.replay(stream_);
  const WorkCounts after = stream_.counts() - before;
  EXPECT_EQ(after.replays, 2);
  EXPECT_EQ(after.launches, 4);
  EXPECT_EQ(after.copies, 2);
  EXPECT_EQ(after.sets, 2);
  EXPECT_EQ(after.copied_bytes, 2 * static_cast<int64_t>(kBytes));

  std::vector<std::string> names;
  for (const Work& work : graph.work()) names.push_back(work.name());
  EXPECT_EQ(names, (std::vector<std::string>{"set", "affine_kernel", "affine_kernel", "copy"}));
  EXPECT_EQ(graph.work()[3].bytes, kBytes);
  EXPECT_EQ(graph.size(), 4u);
  stream_.synchronize();
}

TEST_F(GraphTest, ForgetsACaptureThatWasNotFinished) {
  {
    const GraphCapture capture(stream_);
    give({0, 5});
  }
  EXPECT_EQ(x(), all(0));
  give({0, 6});
  EXPECT_EQ(x(), all(6));
}

TEST_F(GraphTest, MovesAndMayBeEmpty) {
  GraphCapture capture(stream_);
  give({1, 1});
  Graph first = capture.finish();
  GraphCapture nothing(stream_);
  Graph second = nothing.finish();
  EXPECT_EQ(second.size(), 0u);
  second.replay(stream_);
  EXPECT_EQ(x(), all(0));
  second = std::move(first);
  const Graph third(std::move(second));
  third.replay(stream_);
  EXPECT_EQ(x(), all(1));
}

TEST_F(GraphTest, CapturesPinnedMemoryAsItIsAtTheReplay) {
  auto* pinned = static_cast<int*>(allocate(kBytes, MemoryKind::pinned));
  for (int i = 0; i < kCount; ++i) pinned[i] = 1;
  GraphCapture capture(stream_);
  copy(x_, pinned, kBytes, stream_);
  give({10, 0});
  const Graph graph = capture.finish();
  for (int i = 0; i < kCount; ++i) pinned[i] = 2;
  graph.replay(stream_);
  EXPECT_EQ(x(), all(20));
  release(pinned, MemoryKind::pinned);
}

struct Refusal {
  std::string name;
  std::function<void(Stream&, int* memory)> call;

  friend void PrintTo(const Refusal& r, std::ostream* out) { *out << r.name; }
};

const Refusal kRefusals[] = {
    {"waiting_for_the_stream", [](Stream& stream, int*) { stream.synchronize(); }},
    {"device_memory",
     [](Stream&, int*) {
       void* memory = allocate(256, MemoryKind::device);
       release(memory, MemoryKind::device);
     }},
    {"copy_from_pageable_memory",
     [](Stream& stream, int* memory) {
       const std::vector<int> there(kCount);
       copy(memory, there.data(), kBytes, stream);
     }},
    {"copy_to_pageable_memory",
     [](Stream& stream, int* memory) {
       std::vector<int> there(kCount);
       copy(there.data(), memory, kBytes, stream);
     }},
    {"waiting_for_a_captured_event",
     [](Stream& stream, int*) {
       Event event;
       event.record(stream);
       event.synchronize();
     }},
    {"the_time_of_a_captured_event",
     [](Stream& stream, int*) {
       Event start, end;
       start.record(stream);
       end.record(stream);
       end.milliseconds_since(start);
     }},
    {"waiting_for_what_another_stream_did_before",
     [](Stream& stream, int*) {
       Stream other;
       Event event;
       event.record(other);
       stream.wait(event);
     }},
};

class GraphRefusal : public GraphTest, public testing::WithParamInterface<Refusal> {};

TEST_P(GraphRefusal, LeavesTheStreamUsable) {
  {
    GraphCapture capture(stream_);
    give({0, 5});
    EXPECT_THROW(GetParam().call(stream_, y_), std::exception);
  }
  EXPECT_EQ(x(), all(0));
  GraphCapture capture(stream_);
  give({1, 2});
  const Graph graph = capture.finish();
  graph.replay(stream_);
  give({1, 1});
  EXPECT_EQ(x(), all(3));
}

INSTANTIATE_TEST_SUITE_P(, GraphRefusal, testing::ValuesIn(kRefusals), [](const auto& r) { return r.param.name; });

TEST_F(GraphTest, CannotBeFinishedAfterARefusal) {
  GraphCapture capture(stream_);
  give({0, 5});
  EXPECT_THROW(stream_.synchronize(), std::exception);
  EXPECT_THROW(capture.finish(), std::exception);
  EXPECT_EQ(x(), all(0));
}

TEST_F(GraphTest, NamesARefusedCall) {
  const GraphCapture capture(stream_);
  EXPECT_TRUE(test::throws_with<std::runtime_error>([&] { stream_.synchronize(); },
                                                    {"operation not permitted when stream is capturing"}));
}

TEST_F(GraphTest, IsNotCapturedTwiceAtOnce) {
  GraphCapture capture(stream_);
  EXPECT_THROW(GraphCapture another(stream_), std::exception);
}

}  // namespace
}  // namespace striate::gpu
