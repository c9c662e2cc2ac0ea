#include "engine/distributed/communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/distributed/part_of.h"
#include "kernels/bfloat16.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "tests/ranks/ranks.h"

namespace striate {
namespace {

using test::ranks;

/// Of rank r's value i; no two alike, and of different size, so that an order of summation shows.
float value(int rank, int64_t i) {
  return std::sin(static_cast<float>(i * 7 + rank * 131 + 1)) * std::pow(10.0f, static_cast<float>(rank));
}

std::vector<float> values(int rank, int64_t n) {
  std::vector<float> all(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) all[static_cast<size_t>(i)] = value(rank, i);
  return all;
}

float sum_in_order(int64_t i) {
  float sum = value(0, i);
  for (int rank = 1; rank < ranks().size(); ++rank) sum += value(rank, i);
  return sum;
}

TEST(Communicator, AllReduceSumsInOrderOfTheRanks) {
  for (const int64_t n : {0, 1, 2, 3, 7, 4096, 10007}) {
    std::vector<float> mine = values(ranks().rank(), n);
    ranks().all_reduce(mine.data(), n).wait();
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(mine[static_cast<size_t>(i)], sum_in_order(i)) << n << " values, " << i;
  }
}

TEST(Communicator, InBfloat16EverySummandAndTheSumAreRoundedOnce) {
  const int64_t n = 5001;
  std::vector<float> mine = values(ranks().rank(), n);
  ranks().all_reduce(mine.data(), n, WireType::bfloat16).wait();
  for (int64_t i = 0; i < n; ++i) {
    float sum = to_float(to_bfloat16(value(0, i)));
    for (int rank = 1; rank < ranks().size(); ++rank) sum += to_float(to_bfloat16(value(rank, i)));
    const float expected = ranks().size() == 1 ? value(0, i) : to_float(to_bfloat16(sum));
    ASSERT_EQ(mine[static_cast<size_t>(i)], expected) << i;
  }
}

TEST(Communicator, ReduceScatterGivesEachRankItsPart) {
  std::vector<int64_t> counts;
  for (int rank = 0; rank < ranks().size(); ++rank) counts.push_back(rank * 300);  // the first gets none
  const int64_t n = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const int64_t begin = std::accumulate(counts.begin(), counts.begin() + ranks().rank(), int64_t{0});
  std::vector<float> all = values(ranks().rank(), n);
  const int64_t own = counts[static_cast<size_t>(ranks().rank())];
  std::vector<float> mine(static_cast<size_t>(own) + 1, -1.0f);
  ranks().reduce_scatter(all.data(), mine.data(), counts).wait();
  for (int64_t i = 0; i < own; ++i) ASSERT_EQ(mine[static_cast<size_t>(i)], sum_in_order(begin + i)) << i;
  EXPECT_EQ(mine.back(), -1.0f);
}

TEST(Communicator, AllGatherPutsTheRanksOneBehindTheOther) {
  std::vector<int64_t> counts, bytes;
  for (int rank = 0; rank < ranks().size(); ++rank) counts.push_back(rank == 1 ? 0 : 5 + rank);
  for (const int64_t count : counts) bytes.push_back(count * 4);
  const std::vector<float> mine = values(ranks().rank(), counts[static_cast<size_t>(ranks().rank())]);
  std::vector<float> all(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})));
  ranks().all_gather(mine.data(), all.data(), bytes).wait();
  size_t place = 0;
  for (int rank = 0; rank < ranks().size(); ++rank) {
    for (int64_t i = 0; i < counts[static_cast<size_t>(rank)]; ++i) ASSERT_EQ(all[place++], value(rank, i));
  }
}

TEST(Communicator, BroadcastGivesEveryoneWhatTheRootHas) {
  for (int root = 0; root < ranks().size(); ++root) {
    std::vector<float> mine = values(ranks().rank(), 1000);
    ranks().broadcast(mine.data(), 4000, root).wait();
    ASSERT_EQ(mine, values(root, 1000));
  }
  EXPECT_THROW(ranks().broadcast(nullptr, 0, ranks().size()), ShapeError);
}

TEST(Communicator, ManyCollectivesMayBeUnderWayAtOnce) {
  std::vector<std::vector<float>> sums;
  std::vector<Request> requests;
  for (int64_t n = 1; n < 60; ++n) sums.push_back(values(ranks().rank(), n * n));
  for (auto& sum : sums) requests.push_back(ranks().all_reduce(sum.data(), static_cast<int64_t>(sum.size())));
  const std::vector<int> gathered = ranks().gathered(ranks().rank());
  for (int rank = 0; rank < ranks().size(); ++rank) EXPECT_EQ(gathered[static_cast<size_t>(rank)], rank);
  for (auto request = requests.rbegin(); request != requests.rend(); ++request) request->wait();
  for (const auto& sum : sums) {
    for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], sum_in_order(static_cast<int64_t>(i)));
  }
}

TEST(Communicator, TextsOfAnyLengthAreGathered) {
  const auto text = [](int rank) { return std::string(static_cast<size_t>(rank) * 3, static_cast<char>('a' + rank)); };
  const std::vector<std::string> all = ranks().gathered_texts(text(ranks().rank()));
  ASSERT_EQ(static_cast<int>(all.size()), ranks().size());
  for (int rank = 0; rank < ranks().size(); ++rank) EXPECT_EQ(all[static_cast<size_t>(rank)], text(rank));
}

TEST(Communicator, CountsTheBytesThatEachCollectiveNeeds) {
  const int64_t K = ranks().size(), before = ranks().bytes_sent();
  std::vector<float> sums(static_cast<size_t>(100 * K), 1.0f);
  ranks().all_reduce(sums.data(), 100 * K).wait();
  EXPECT_EQ(ranks().bytes_sent() - before, 2 * (K - 1) * 100 * 4);
  ranks().all_reduce(sums.data(), 100 * K, WireType::bfloat16).wait();
  EXPECT_EQ(ranks().bytes_sent() - before, 2 * (K - 1) * 100 * 6);
}

TEST(Communicator, OfADeviceIsTheHostsOwnButOnAGpu) {
  EXPECT_EQ(device_communicator(ranks(), Device::cpu), nullptr);
  EXPECT_EQ(device_communicator(ranks(), Device::reference), nullptr);
  if (gpu::built_for_gpu()) GTEST_SKIP() << "a GPU for each rank is asked for by those who train";
  choose_gpu(ranks());
  EXPECT_NE(device_communicator(ranks(), Device::cuda), nullptr);
  EXPECT_THROW(connect_nccl(ranks()), ConfigError);
}

}  // namespace
}  // namespace striate
