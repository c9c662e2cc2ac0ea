#pragma once

#include "models/family.h"
#include "models/layer.h"

/// AlexNet (Krizhevsky, Sutskever & Hinton 2012) and the networks that courses call so. Parameter names are
/// torchvision's wherever the layer exists there.
namespace striate::models {

/// torchvision's: 64-192-384-256-256 channels ("One weird trick", Krizhevsky 2014), adaptive pooling to 6×6.
LayerList alexnet(const FamilyOptions& options);
/// 64-192-384-384-256 channels: "One weird trick" as its text has it.
LayerList alexnet_owt(const FamilyOptions& options);
/// The paper's: 96-256-384-384-256, convolutions 2, 4 and 5 in two groups, local response normalisation.
LayerList alexnet_paper(const FamilyOptions& options);
/// The paper's widths ungrouped, batch norm after the first convolution, no padding in it.
LayerList alexnet_bn(const FamilyOptions& options);
/// For 32×32 images: 64@3×3 stride 2, three pools of 2.
LayerList alexnet_cifar(const FamilyOptions& options);
/// Two convolutions and two linear layers for 32×32 images.
LayerList alexnet_mini(const FamilyOptions& options);

}  // namespace striate::models
