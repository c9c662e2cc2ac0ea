#pragma once

#include <cstdint>
#include <string>

#include "engine/train/batch_source.h"

namespace striate {

/// `evaluate --per-image`: a CSV with a row an image in the dataset's order, `image,label,prediction,p0,p1,…`: its
/// number (broken images that were left out are counted), the two classes (a label that nobody knows is empty) and the
/// probability of each class. The file appears whole, on commit().
class PerImageTable {
 public:
  PerImageTable(std::string file, int64_t classes);
  void add(const Batch& batch, const Tensor& logits);
  void commit();

 private:
  std::string file_, text_;
  int64_t images_ = 0;
};

}  // namespace striate
