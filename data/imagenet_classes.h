#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace striate {

struct ImagenetClass {
  std::string_view id;    ///< WordNet's, like n01440764
  std::string_view name;  ///< a short one, which no other class has, like tench
};

/// The 1000 classes of ILSVRC 2012 in the order of their sorted WordNet ids, which is that of the logits of networks
/// from elsewhere; the names are those that torchvision's weights carry.
std::span<const ImagenetClass> imagenet_classes();

/// Whether a text is n and eight digits.
bool is_wordnet_id(std::string_view text);

/// What classes are called whose folders are named so: where all names are WordNet ids, those of the 1000 classes are
/// replaced by their short names. The order stays.
std::vector<std::string> readable_class_names(std::vector<std::string> folder_names);

}  // namespace striate
