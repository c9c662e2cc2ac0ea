#include "engine/distributed/exchange.h"

#include <numeric>
#include <utility>

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/profiler.h"
#include "engine/storage.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/error.h"

namespace striate {

namespace {

WireType wire_of(const Tensor& t, WireType wire) { return t.dtype() == DType::bfloat16 ? WireType::bfloat16 : wire; }

/// Counts of rows or columns as values, or bytes.
std::vector<int64_t> times(std::vector<int64_t> counts, int64_t factor) {
  for (int64_t& count : counts) count *= factor;
  return counts;
}

/// Blocks shape.first to shape.last − 1 of x [N,K], one behind the other.
Tensor to_blocks(const Tensor& x, const ColumnBlocksShape& shape) {
  Tensor blocks = Tensor::empty({shape.size()}, x.dtype(), x.device());
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(x.device(), columns_to_blocks, x.data<T>(), blocks.data<T>(), shape, context(x.device()));
  });
  return blocks;
}

/// This rank's columns of the sum over the ranks.
Tensor sum_columns(const Tensor& dy, const ColumnBlocksShape& all, const Ranks& ranks, WireType wire) {
  const Tensor summands = dy.to(DType::float32);
  Tensor blocks = to_blocks(summands, all);
  Tensor own = Tensor::empty({all.N, all.columns(ranks.rank())}, DType::float32, dy.device());
  const ProfileScope profiled(Pass::wait, "gradients of columns");
  ranks.device
      ->reduce_scatter(blocks.data<float>(), own.data<float>(), times(part_sizes(all.K, all.parts), all.N), wire)
      .wait();
  return own.to(dy.dtype());
}

}  // namespace

Tensor gather_columns(const Tensor& y, int64_t K, const Ranks& ranks, ColumnGradient gradient, WireType wire) {
  const ColumnBlocksShape all{y.dim(0), K, ranks.size()};
  all.check();
  require<ShapeError>(y.shape() == Shape{all.N, all.columns(ranks.rank())},
                      "gather_columns: expected [{},{}] of rank {}, for {} columns of {} ranks, found {}", all.N,
                      all.columns(ranks.rank()), ranks.rank(), K, ranks.size(), to_string(y.shape()));
  if (!several(ranks)) return y;
  const Tensor blocks = Tensor::empty({all.size()}, y.dtype(), y.device());
  const Storage& mine = *y.impl()->storage;
  {
    const ProfileScope profiled(Pass::wait, "columns of other ranks");
    ranks.device
        ->all_gather(mine.data(), blocks.impl()->storage->data(),
                     times(part_sizes(K, all.parts), all.N * static_cast<int64_t>(size_of(y.dtype()))))
        .wait();
  }
  Tensor gathered = Tensor::empty({all.N, K}, y.dtype(), y.device());
  in_type_of(y, [&]<typename T>(T) {
    STRIATE_DISPATCH(y.device(), blocks_to_columns, blocks.data<T>(), gathered.data<T>(), all, context(y.device()));
  });
  if (!any_requires_grad({y})) return gathered;
  record("gather_columns", gathered, {y},
         [all, ranks, gradient, wire = wire_of(y, wire)](const Tensor& dy, Gradients& gradients) {
           if (gradient == ColumnGradient::partial) {
             return gradients.add(0, sum_columns(dy, all, ranks, wire));
           }
           ColumnBlocksShape own = all;
           own.first = ranks.rank();
           own.last = own.first + 1;
           gradients.add(0, to_blocks(dy, own).reshape({all.N, -1}));
         });
  return gathered;
}

/// What the backwards of the rounds of a SharedRows have in common.
class SharedRows::Exchange {
 public:
  Exchange(std::vector<int64_t> counts, int64_t rounds, const Ranks& ranks, WireType wire)
      : counts_(std::move(counts)), rounds_(rounds), ranks_(ranks), wire_(wire) {}

  /// The rows of a round's ranks times `factor`, of the other ranks 0.
  std::vector<int64_t> counts(int64_t round, int64_t factor) const {
    const Range members = part_of(ranks_.size(), round, rounds_);
    std::vector<int64_t> all(counts_.size(), 0);
    for (int64_t r = members.begin; r < members.end; ++r) {
      all[static_cast<size_t>(r)] = counts_[static_cast<size_t>(r)] * factor;
    }
    return all;
  }
  Range rows(int64_t round) const {
    const Range members = part_of(ranks_.size(), round, rounds_);
    const auto first = counts_.begin();
    return {std::accumulate(first, first + members.begin, int64_t{0}),
            std::accumulate(first, first + members.end, int64_t{0})};
  }
  Communicator& communicator() const { return *ranks_.device; }

  /// Starts the sum over the ranks of a round's gradient; what this rank gets of it is there after wait_for_sums().
  void start_sum(int64_t round, const Tensor& partial, Gradients& gradients) {
    // The sum leaves its summands undefined: they must be nobody else's.
    Tensor all = partial.dtype() != DType::float32 ? partial.to(DType::float32)
                 : partial.is_only_handle()        ? partial
                                                   : partial.clone();
    const Range members = part_of(ranks_.size(), round, rounds_);
    const bool is_member = members.begin <= ranks_.rank() && ranks_.rank() < members.end;
    const int64_t own_rows = is_member ? counts_[static_cast<size_t>(ranks_.rank())] : 0;
    Tensor own = Tensor::empty({own_rows, all.dim(1)}, DType::float32, all.device());
    Request request =
        ranks_.device->reduce_scatter(all.data<float>(), own.data<float>(), counts(round, all.dim(1)), wire_);
    if (is_member) gradients.add(0, own);  // the only one: a rank is in one round
    sums_.push_back({std::move(all), std::move(own), std::move(request)});
  }
  void wait_for_sums() {
    const ProfileScope profiled(Pass::wait, "gradients of features");
    for (Sum& sum : sums_) sum.request.wait();
    sums_.clear();
  }

 private:
  struct Sum {
    Tensor all, own;
    Request request;
  };

  std::vector<int64_t> counts_;
  int64_t rounds_;
  Ranks ranks_;
  WireType wire_;
  std::vector<Sum> sums_;
};

SharedRows::SharedRows(const Tensor& mine, std::vector<int64_t> counts, int64_t rounds, const Ranks& ranks,
                       WireType wire)
    : mine_(mine.detach()), rounds_(rounds) {
  require<ConfigError>(1 <= rounds && rounds <= ranks.size(),
                       "distributed.rounds: expected 1 to {}, the number of ranks, or 0 for that; found {}",
                       ranks.size(), rounds);
  require<ShapeError>(static_cast<int>(counts.size()) == ranks.size() && mine.rank() == 2 &&
                          mine.dim(0) == counts[static_cast<size_t>(ranks.rank())],
                      "SharedRows: expected as many rows [N,F] as rank {} is said to have, found {}", ranks.rank(),
                      to_string(mine.shape()));
  if (!several(ranks)) {
    next_ = mine;
    return;
  }
  exchange_ = std::make_shared<Exchange>(std::move(counts), rounds, ranks, wire_of(mine, wire));
  if (any_requires_grad({mine})) {
    // Recorded before all rounds, so that its backward comes after all of theirs.
    record("share_rows", mine_, {mine}, [exchange = exchange_, dtype = mine.dtype()](const Tensor& dy, Gradients& g) {
      exchange->wait_for_sums();
      g.add(0, dy.to(dtype));
    });
  }
  start();
}

SharedRows::~SharedRows() = default;

void SharedRows::start() {
  const int64_t round = taken_;
  if (round == rounds_) return;
  const int64_t columns = mine_.dim(1);
  next_ = Tensor::empty({rows(round).size(), columns}, mine_.dtype(), mine_.device());
  const Storage& from = *mine_.impl()->storage;
  const std::vector<int64_t> bytes = exchange_->counts(round, columns * static_cast<int64_t>(size_of(mine_.dtype())));
  under_way_ = exchange_->communicator().all_gather(from.data(), next_.impl()->storage->data(), bytes);
}

Tensor SharedRows::take() {
  require<Error>(taken_ < rounds_, "SharedRows: all {} rounds were taken", rounds_);
  {
    const ProfileScope profiled(Pass::wait, "features of other ranks");
    under_way_.wait();
  }
  Tensor x = std::move(next_);
  const int64_t round = taken_++;
  if (exchange_ == nullptr) return x;  // one process
  start();
  if (!any_requires_grad({mine_})) return x;
  record("share_rows", x, {mine_}, [exchange = exchange_, round](const Tensor& dy, Gradients& gradients) {
    exchange->start_sum(round, dy, gradients);
  });
  return x;
}

Range SharedRows::rows(int64_t round) const {
  return exchange_ == nullptr ? Range{0, mine_.dim(0)} : exchange_->rows(round);
}

}  // namespace striate
