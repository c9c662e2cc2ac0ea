#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/open.h"
#include "engine/nn/module.h"
#include "engine/train/trainer.h"
#include "tools/run_config.h"

namespace striate {

/// What a configuration describes, opened and built: the data, and the network on its device with fresh weights.
class Experiment {
 public:
  /// Throws what the data and the models throw for files that are missing and sizes that do not fit. Of several ranks
  /// each trains on its part of every batch; rank 0 tells what is to be known of how the dataset is opened.
  explicit Experiment(const RunConfig& config, int rank = 0, int ranks = 1);

  nn::Module& model() { return *model_; }
  /// Makes the model the ranks' by the configuration's `distributed`, once its weights are loaded. Throws ConfigError
  /// for a network that cannot be divided so.
  void divide(const Ranks& ranks);
  /// The network as it was built: the model, or what it has its layers from. Up to the first linear layer it can be run
  /// by one rank alone.
  nn::Module& network() { return *network_; }
  /// The model is a whole one with fresh weights again.
  void build_again();
  /// The network in ten crops: for evaluation, of ten_crops().
  nn::Module& ten_crop_model();
  /// Throws ConfigError where the dataset has no training part, or batches of one picture are to be mixed.
  TrainData train_data();
  /// A part in order, whole and as the network is tested: train, val, test or unlabelled.
  Loader& part(const std::string& split);
  /// The same in ten crops a picture, for a TenCropNetwork. Throws ConfigError unless the test transforms end with a
  /// centre crop.
  BatchSource& ten_crops(const std::string& split);
  bool has_labels(const std::string& split) const { return data_.has_labels(split); }
  const Shape& input() const { return input_; }  ///< of the network, [H,W,C]
  /// What the data settled: sizes, normalization, transforms.
  const Data& data() const { return data_; }
  int64_t classes() const { return classes_; }
  /// A name for every class of the network, which may have more than the dataset.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// "alexnet_mini on fashion_mnist"
  std::string title() const;
  /// The title with classes, sizes and threads: a line.
  std::string description() const;
  /// The configuration with what the data and the model have settled: classes, channels, image size, and mean and
  /// deviation where they were computed.
  RunConfig resolved() const { return config_.with(settled()); }
  /// Its text, below a line that says what it is of.
  std::string resolved_config() const;
  /// Its sections model and data for TrainOptions::fixed.
  std::string fixed_by_resume() const;

  /// Told of every broken picture that is left out.
  void on_broken(std::function<void(const std::string&)> tell) { *on_broken_ = std::move(tell); }
  int64_t broken() const;

 private:
  std::vector<std::string> settled() const;  // overrides: what the data settled

  RunConfig config_;
  std::shared_ptr<std::function<void(const std::string&)>> on_broken_;
  Data data_;
  Shape input_;
  int64_t classes_ = 0;
  std::vector<std::string> class_names_;
  std::shared_ptr<nn::Module> network_, model_, ten_crop_model_;
  std::unique_ptr<Loader> part_;
};

}  // namespace striate
