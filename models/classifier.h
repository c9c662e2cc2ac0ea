#pragma once

#include <memory>
#include <string>

#include "engine/nn/module.h"
#include "models/layer.h"

namespace striate::models {

/// A network in two parts: images → features, features → logits. Every named model is one, so that
/// `std::dynamic_pointer_cast<Classifier>(model)` gives the features that its last part sees.
class Classifier : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override { return classify(features(x)); }
  virtual Tensor features(const Tensor& x) = 0;         ///< x [N,H,W,C] → [N,features]
  virtual Tensor classify(const Tensor& features) = 0;  ///< [N,features] → logits [N,classes]
};

/// A Classifier from a list of layers: a child for each part of their names, the last of which classifies.
class LayeredClassifier : public Classifier {
 public:
  /// Parameters are zero. Throws ShapeError naming the layer and the smallest input where `input` [H,W,C] does not fit.
  LayeredClassifier(std::string name, const LayerList& layers, const Shape& input, int64_t classes);
  Tensor features(const Tensor& x) override;
  Tensor classify(const Tensor& features) override;
  std::string type() const override { return name_; }

 private:
  std::string name_;
};

}  // namespace striate::models
