#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/distributed/options.h"
#include "engine/nn/layers.h"
#include "models/classifier.h"

namespace striate::models {

/// A network whose first part is data parallel and whose linear layers are model parallel (Krizhevsky 2014, arXiv
/// 1404.5997): each rank computes the features of its own images and, for the images of all ranks, some of the outputs
/// of each linear layer. Forward and backward are collective: x [images of this rank,H,W,C], which may be none, →
/// logits [images of all ranks, classes] in order of the ranks, the same on every rank. A loss of all of them, the same
/// on every rank, gives each rank the whole gradient of its rows of the linear layers, and of all else a summand: the
/// sum over the ranks is the gradient.
///
/// Dropout's masks are those of the whole batch where dropout_state(device).first_sample is, on each rank, that of its
/// first image.
class OneWeirdTrick : public Classifier {
 public:
  /// Takes the network's layers over, under their names. Throws ConfigError where its last part (of a plain list of
  /// layers: that from the first linear one on) has no linear layer, or parameters in another one, or where a layer has
  /// fewer outputs than there are ranks.
  OneWeirdTrick(std::shared_ptr<nn::Module> network, const Ranks& ranks, const DistributedOptions& options);
  Tensor forward(const Tensor& x) override;
  Tensor features(const Tensor& x) override { return features_(x); }
  /// Features of this rank's images → logits of all.
  Tensor classify(const Tensor& features) override;
  std::string type() const override { return network_->type(); }

 private:
  void start_counting(int64_t images);

  std::shared_ptr<nn::Module> network_;
  std::function<Tensor(const Tensor&)> features_, head_;
  std::vector<nn::Dropout*> head_dropouts_;
  Ranks ranks_;
  WireType wire_;
  int64_t rounds_;
  // Of all ranks' images: on their way while the features are computed.
  int64_t images_ = 0;
  std::vector<int64_t> counts_;
  Request counting_;
  bool is_counting_ = false;  // since forward() began
};

}  // namespace striate::models
