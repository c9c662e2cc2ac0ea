#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/distributed/options.h"
#include "engine/distributed/part_of.h"
#include "engine/tensor.h"

/// Exchanges between ranks that a backward goes through, for networks of which each rank computes a part. All ranks
/// call them in the same order, with tensors of one type; float32 or bfloat16. Gradients are summed over the ranks in
/// their order. Of bfloat16 they are on their way as they are stored; of float32, as `wire` says.
namespace striate {

/// What a rank's backward brings of the gradient of gathered columns.
enum class ColumnGradient {
  partial,  ///< a summand: what comes next is divided among the ranks, and the sum over them is the gradient
  complete  ///< the gradient: all ranks compute the same with the columns
};

/// y [N, part_of(K, rank, ranks)] → [N,K] on every rank. Backward: each rank's columns of the gradient, after the sum
/// over the ranks where it is partial. Anything may stand between the columns and what makes the gradients partial
/// whose backward is linear in the gradient, as every op's is. Sent by a rank: its y to each other rank; back, the
/// others' columns where the gradient is partial, else nothing.
Tensor gather_columns(const Tensor& y, int64_t K, const Ranks& ranks, ColumnGradient gradient,
                      WireType wire = WireType::float32);

/// Gives all ranks the rows of all, in rounds: in each those of part_of(ranks, round, rounds). While a round is
/// computed with, the next one's rows are on their way; while its gradient is computed, so is the sum over the ranks of
/// the gradient of the round behind it. What is computed with a round is divided among the ranks, so that the gradients
/// are partial. As many rounds as ranks are scheme (b) of Krizhevsky 2014 (arXiv 1404.5997, §4.1), one round is (a).
/// Sent by a rank: its rows to each other rank; back, the gradient of the others' rows.
class SharedRows {
 public:
  /// mine [counts[rank], F]; counts: rows of every rank. Starts the first round. Throws ConfigError unless there are
  /// 1 to `size` rounds.
  SharedRows(const Tensor& mine, std::vector<int64_t> counts, int64_t rounds, const Ranks& ranks,
             WireType wire = WireType::float32);
  ~SharedRows();
  SharedRows(const SharedRows&) = delete;
  SharedRows& operator=(const SharedRows&) = delete;

  /// The next round's rows [rows(round).size(), F], and starts the one after it. Each is taken once, in order.
  Tensor take();
  /// Which rows of all ranks' a round has.
  Range rows(int64_t round) const;

 private:
  class Exchange;
  void start();

  Tensor mine_;
  std::shared_ptr<Exchange> exchange_;  // the backward needs it, too
  int64_t rounds_, taken_ = 0;
  Tensor next_;  // on its way
  Request under_way_;
};

}  // namespace striate
