#pragma once

#include <cstdint>
#include <string>

#include "engine/distributed/communicator.h"

namespace striate {

class ConfigReader;

/// How the work is divided among ranks.
enum class Scheme {
  none,            ///< one process
  data,            ///< each rank has the whole network and a part of every batch
  one_weird_trick  ///< so have the convolutions; each linear layer's outputs are divided (Krizhevsky 2014)
};
/// "none", "data", "one_weird_trick".
std::string to_string(Scheme scheme);
/// How the learning rate grows with the number of ranks K.
enum class RateScaling { none, linear, sqrt };  ///< times 1, K (Goyal et al. 2017), √K (Krizhevsky 2014, §5)

/// The configuration's section `distributed`.
struct DistributedOptions {
  Scheme scheme = Scheme::none;
  int64_t bucket_bytes = 25 << 20;      ///< gradients that are reduced together
  WireType reduce = WireType::float32;  ///< gradients on their way
  bool sync_batch_norm = false;         ///< statistics over the whole batch rather than a rank's part
  int64_t rounds = 0;                   ///< in which the linear layers see a batch; 0: a rank's images at a time
  RateScaling rate_scaling = RateScaling::none;

  /// Reads the section. Throws ConfigError with file, line and key.
  static DistributedOptions parse(ConfigReader distributed);

  /// What every rate of the schedule is multiplied by, its warm-up's and its least one too.
  double rate_factor(int ranks) const;
  /// "key=value" lines of what a resumed run must have in common with the one it continues: nothing that is left at its
  /// default. Scheme, number of ranks, rounds and what travels may change.
  std::string fixed_by_resume() const;
};

/// What a rank exchanges values through.
struct Ranks {
  Communicator* host = nullptr;    ///< of values in the host's memory; null: one process
  Communicator* device = nullptr;  ///< in that of the device that trains; the same but on a GPU

  int rank() const { return host == nullptr ? 0 : host->rank(); }
  int size() const { return host == nullptr ? 1 : host->size(); }
};

inline bool several(const Ranks& ranks) { return ranks.size() > 1; }

}  // namespace striate
