#pragma once

#include <cstdint>
#include <string>

#include "engine/train/batch_source.h"

namespace striate {

/// `evaluate --submission` and `train.submission`: a CSV `Id,Category` with a row an image in the dataset's order, its
/// number from 1 (broken images that were left out are counted) and the likeliest class. The file appears whole, on
/// commit().
class Submission {
 public:
  explicit Submission(std::string file) : file_(std::move(file)), text_("Id,Category\n") {}
  void add(const Batch& batch, const Tensor& logits);
  void commit();

 private:
  std::string file_, text_;
  int64_t images_ = 0;
};

class Experiment;

/// A submission of the experiment's test part (or its unlabelled one, see Data::evaluation_loader) by its network as it
/// is. Throws ConfigError where the dataset has neither.
void write_submission(Experiment& experiment, Device device, const std::string& file);

}  // namespace striate
