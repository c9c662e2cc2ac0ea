#include "models/one_weird_trick.h"

#include <numeric>
#include <utility>

#include "engine/nn/sharded_linear.h"
#include "kernels/error.h"

namespace striate::models {

namespace {

using Child = std::pair<std::string, nn::ModulePtr>;

/// A network cut in two. The children are pointed to where its forward finds them.
struct Halves {
  std::vector<Child*> front, head;
  std::function<Tensor(const Tensor&)> features, classify;
};

Halves cut(Classifier& network) {
  Halves halves;
  for (Child& child : network.children()) halves.front.push_back(&child);
  halves.head = {halves.front.back()};
  halves.front.pop_back();
  halves.features = [&network](const Tensor& x) { return network.features(x); };
  halves.classify = [&network](const Tensor& features) { return network.classify(features); };
  return halves;
}

Halves cut_before_the_first_linear(nn::Module& network) {
  const auto front = std::make_shared<nn::Sequential>(), head = std::make_shared<nn::Sequential>();
  for (const Child& child : network.children()) {
    const bool is_linear = dynamic_cast<nn::Linear*>(child.second.get()) != nullptr;
    (is_linear || !head->children().empty() ? head : front)->add(child.first, child.second);
  }
  Halves halves;
  for (Child& child : front->children()) halves.front.push_back(&child);
  for (Child& child : head->children()) halves.head.push_back(&child);
  // Not by operator(): no observer knows of these two.
  halves.features = [front](const Tensor& x) { return front->forward(x); };
  halves.classify = [head](const Tensor& features) { return head->forward(features); };
  return halves;
}

/// A linear layer: its name, and where its parent keeps it.
struct Place {
  std::string name;
  nn::ModulePtr* module = nullptr;
};

void find_layers(const std::string& name, nn::ModulePtr& module, std::vector<Place>& linears,
                 std::vector<nn::Dropout*>& dropouts) {
  if (dynamic_cast<nn::Linear*>(module.get()) != nullptr) {
    linears.push_back({name, &module});
    return;
  }
  require<ConfigError>(module->own_parameters().empty(),
                       "distributed.scheme: one_weird_trick divides the linear layers of a network's last part, and "
                       "{} ({}) there has parameters, too; choose data",
                       name, module->type());
  if (auto* dropout = dynamic_cast<nn::Dropout*>(module.get())) dropouts.push_back(dropout);
  for (auto& [child_name, child] : module->children()) {
    find_layers(name + "." + child_name, child, linears, dropouts);
  }
}

}  // namespace

OneWeirdTrick::OneWeirdTrick(std::shared_ptr<nn::Module> network, const Ranks& ranks, const DistributedOptions& options)
    : network_(std::move(network)),
      ranks_(ranks),
      wire_(options.reduce),
      rounds_(options.rounds == 0 ? ranks.size() : options.rounds),
      counts_(static_cast<size_t>(ranks.size())) {
  require<ConfigError>(1 <= rounds_ && rounds_ <= ranks.size(),
                       "distributed.rounds: expected 0 to {}, the number of ranks, found {}", ranks.size(),
                       options.rounds);
  auto* const classifier = dynamic_cast<Classifier*>(network_.get());
  Halves halves = classifier != nullptr ? cut(*classifier) : cut_before_the_first_linear(*network_);
  std::vector<Place> linears;
  for (Child* child : halves.head) find_layers(child->first, child->second, linears, head_dropouts_);
  require<ConfigError>(!linears.empty(),
                       "distributed.scheme: one_weird_trick divides the linear layers of a network's last part, and {} "
                       "has none there; choose data",
                       network_->type());
  for (const Place& place : linears) {
    const auto gradient = &place == &linears.back() ? ColumnGradient::complete : ColumnGradient::partial;
    *place.module = std::make_shared<nn::ShardedLinear>(place.name, dynamic_cast<const nn::Linear&>(**place.module),
                                                        ranks, gradient, wire_);
  }
  // A plain list's are copies: it lets the whole layers go, too.
  for (const Child* child : halves.head) {
    for (Child& own : network_->children()) {
      if (own.first == child->first) own.second = child->second;
    }
  }
  for (Child* child : halves.front) register_module(child->first, child->second);
  for (Child* child : halves.head) register_module(child->first, child->second);
  features_ = std::move(halves.features);
  head_ = std::move(halves.classify);
}

void OneWeirdTrick::start_counting(int64_t images) {
  counting_ = {};  // of a forward that an error ended
  images_ = images;
  is_counting_ = true;
  if (!several(ranks_)) {
    counts_ = {images};
    return;
  }
  const std::vector<int64_t> bytes(counts_.size(), static_cast<int64_t>(sizeof(int64_t)));
  counting_ = ranks_.host->all_gather(&images_, counts_.data(), bytes);
}

Tensor OneWeirdTrick::forward(const Tensor& x) {
  start_counting(x.dim(0));
  return classify(features(x));
}

Tensor OneWeirdTrick::classify(const Tensor& features) {
  if (!is_counting_) start_counting(features.dim(0));
  counting_.wait();
  is_counting_ = false;
  SharedRows shared(features, counts_, rounds_, ranks_, wire_);
  const int64_t before = std::accumulate(counts_.begin(), counts_.begin() + ranks_.rank(), int64_t{0});
  std::vector<Tensor> logits;
  for (int64_t round = 0; round < rounds_; ++round) {
    // The masks are counted from this rank's first image.
    for (nn::Dropout* dropout : head_dropouts_) dropout->set_first_row(shared.rows(round).begin - before);
    logits.push_back(head_(shared.take()));
  }
  return ops::concatenate(logits);
}

}  // namespace striate::models
