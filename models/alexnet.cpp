#include "models/alexnet.h"

#include <array>

namespace striate::models {
namespace {

// Five convolutions and three pools: torchvision's features.0 to features.12.
LayerList one_tower(const FamilyOptions& o, const std::array<int64_t, 5>& channels) {
  const Layer act = ActivationLayer{o.activation};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(channels[0]), 11, 4, 2), act, max_pool(3, 2),  //
          conv(o.scaled(channels[1]), 5, 1, 2), act, max_pool(3, 2),   //
          conv(o.scaled(channels[2]), 3, 1, 1), act,                   //
          conv(o.scaled(channels[3]), 3, 1, 1), act,                   //
          conv(o.scaled(channels[4]), 3, 1, 1), act, max_pool(3, 2)});
  return layers;
}

// Two hidden linear layers with dropout, and the logits. The linear layers are 1, 4 and 6 wherever the dropout stands,
// as in torchvision.
void append_classifier(LayerList& layers, const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation}, dropout = DropoutLayer{o.dropout};
  const Layer hidden = linear(o.scaled(4096)), logits = linear(o.classes);
  layers.push_back({"flatten", FlattenLayer{}});
  if (o.dropout_place == DropoutPlace::before_linear) {
    append(layers, "classifier", {dropout, hidden, act, dropout, hidden, act, logits});
    return;
  }
  const LayerList after = {{"classifier.1", hidden}, {"classifier.2", act}, {"classifier.3", dropout},
                           {"classifier.4", hidden}, {"classifier.5", act}, {"classifier.dropout", dropout},
                           {"classifier.6", logits}};
  layers.insert(layers.end(), after.begin(), after.end());
}

}  // namespace

LayerList alexnet(const FamilyOptions& o) {
  LayerList layers = one_tower(o, {64, 192, 384, 256, 256});
  layers.push_back({"avgpool", AdaptiveAvgPoolLayer{6, 6}});
  append_classifier(layers, o);
  return layers;
}

LayerList alexnet_owt(const FamilyOptions& o) {
  LayerList layers = one_tower(o, {64, 192, 384, 384, 256});
  append_classifier(layers, o);
  return layers;
}

LayerList alexnet_paper(const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation}, norm = LocalResponseNormLayer{};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(96, 2), 11, 4, 2), act, norm, max_pool(3, 2),     //
          conv(o.scaled(256, 2), 5, 1, 2, 2), act, norm, max_pool(3, 2),  //
          conv(o.scaled(384, 2), 3, 1, 1), act,                           //
          conv(o.scaled(384, 2), 3, 1, 1, 2), act,                        //
          conv(o.scaled(256, 2), 3, 1, 1, 2), act, max_pool(3, 2)});
  append_classifier(layers, o);
  return layers;
}

LayerList alexnet_bn(const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(96), 11, 4), BatchNormLayer{}, act, max_pool(3, 2),  //
          conv(o.scaled(256), 5, 1, 2), act, max_pool(3, 2),                 //
          conv(o.scaled(384), 3, 1, 1), act,                                 //
          conv(o.scaled(384), 3, 1, 1), act,                                 //
          conv(o.scaled(256), 3, 1, 1), act, max_pool(3, 2)});
  append_classifier(layers, o);
  return layers;
}

LayerList alexnet_cifar(const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(64), 3, 2, 1), act, max_pool(2, 2),   //
          conv(o.scaled(192), 3, 1, 1), act, max_pool(2, 2),  //
          conv(o.scaled(384), 3, 1, 1), act,                  //
          conv(o.scaled(256), 3, 1, 1), act,                  //
          conv(o.scaled(256), 3, 1, 1), act, max_pool(2, 2)});
  append_classifier(layers, o);
  return layers;
}

LayerList alexnet_mini(const FamilyOptions& o) {
  const Layer act = ActivationLayer{o.activation}, dropout = DropoutLayer{o.dropout};
  LayerList layers;
  append(layers, "features",
         {conv(o.scaled(32), 5, 1, 2), act, max_pool(2, 2), conv(o.scaled(64), 3, 1, 1), act, max_pool(2, 2)});
  layers.push_back({"flatten", FlattenLayer{}});
  const Layer hidden = linear(o.scaled(128)), logits = linear(o.classes);
  if (o.dropout_place == DropoutPlace::before_linear) {
    append(layers, "classifier", {dropout, hidden, act, dropout, logits});
  } else {
    const LayerList after = {
        {"classifier.1", hidden}, {"classifier.2", act}, {"classifier.3", dropout}, {"classifier.4", logits}};
    layers.insert(layers.end(), after.begin(), after.end());
  }
  return layers;
}

}  // namespace striate::models
