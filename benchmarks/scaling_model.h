#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/summary.h"

namespace striate::bench {

/// What ranks do together; S bytes is the whole vector that it is about.
enum class Collective {
  all_reduce,      ///< every rank sends each other's share, and then its own, summed
  all_gather,      ///< of S/ranks bytes each
  reduce_scatter,  ///< to S/ranks bytes each
  broadcast,
  reduce,
};

/// Bytes that a rank sends, the mean over the ranks; it receives as many.
double sent_bytes(Collective collective, double bytes, int64_t ranks);

/// What ranks are joined by: nodes of so many ranks, each way at once.
struct Fabric {
  std::string name;
  int64_t ranks_a_node = 1;
  double inside = 0.0;   ///< bytes/s of a rank to others of its node
  double between = 0.0;  ///< bytes/s of a node to others
  /// How a collective's messages go: each way costs latencies, and carries a share of the bytes/s.
  struct Way {
    bool tree = false;                                        ///< all-reduce alone; else a ring through all ranks
    double start = 0.0, inside_hop = 0.0, between_hop = 0.0;  ///< seconds
    double share = 1.0;
  };
  std::vector<Way> ways;

  /// By the fastest way.
  double seconds(Collective collective, double bytes, int64_t ranks) const;
};

/// Nodes of 8 H100s, NVLink inside and an InfiniBand adapter of 400 Gb/s for each GPU between them.
Fabric h100_nodes();
/// A rank a node and so many bytes/s each way over TCP.
Fabric network(double bytes_per_second);

/// A layer as the model sees it.
struct LayerWork {
  std::string name, type;
  bool head = false;  ///< at or after the first linear layer: what one weird trick divides by columns
  int64_t parameters = 0, macs = 0;
  int64_t inputs = 0, outputs = 0;  ///< values an image
  int64_t channels = 0;             ///< of the output
};
std::vector<LayerWork> layer_works(const models::ModelSummary& summary);

/// What a rank's own work takes, in seconds.
struct Compute {
  std::string name;
  struct Passes {
    double forward = 0.0, backward = 0.0;
  };
  /// A layer on so many images, its output's columns divided by `parts`.
  std::function<Passes(const LayerWork& layer, double images, int64_t parts)> layer;
  /// The loss of so many images.
  std::function<double(int64_t classes, double images)> loss;
  std::function<double(double parameters)> update;
};

struct ScalingOptions {
  int64_t ranks = 1;
  double images = 0.0;             ///< of a rank
  double wire_bytes = 4.0;         ///< of a gradient on its way
  double activation_bytes = 4.0;   ///< of an activation; its gradient on its way has the fewer of the two
  double bucket_bytes = 25 << 20;  ///< as float32
  int64_t rounds = 0;              ///< one weird trick's; 0: as many as ranks
};

/// A predicted step of a rank.
struct PredictedStep {
  double seconds = 0.0;
  double compute = 0.0;        ///< seconds of its own work
  double communication = 0.0;  ///< seconds that its link is busy
  double exposed = 0.0;        ///< seconds that its work waits for the link
  double sent_bytes = 0.0;     ///< and as many received
};

/// Gradients are reduced in buckets, last layer first, each from when its last gradient is there.
PredictedStep predict_data_parallel(const std::vector<LayerWork>& layers, const Compute& compute, const Fabric& fabric,
                                    const ScalingOptions& options);

/// Krizhevsky 2014 (arXiv 1404.5997): the layers before the head as above; the head's columns are divided over the
/// ranks, which work on the features of one round after the other, the next round's broadcast under them.
PredictedStep predict_one_weird_trick(const std::vector<LayerWork>& layers, const Compute& compute,
                                      const Fabric& fabric, const ScalingOptions& options);

}  // namespace striate::bench
