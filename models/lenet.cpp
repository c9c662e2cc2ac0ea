#include "models/lenet.h"

namespace striate::models {

LayerList lenet(const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(6), 5, 1, 2), act, avg_pool(2, 2), conv(o.scaled(16), 5), act, avg_pool(2, 2)});
  layers.push_back({"flatten", FlattenLayer{}});
  append(layers, "classifier", {linear(o.scaled(120)), act, linear(o.scaled(84)), act, linear(o.classes)});
  return layers;
}

}  // namespace striate::models
