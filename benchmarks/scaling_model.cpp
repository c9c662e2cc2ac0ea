#include "benchmarks/scaling_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace striate::bench {
namespace {

/// A rank's work and its link, each one thing after the other.
class Timeline {
 public:
  Timeline(const Fabric& fabric, int64_t ranks) : fabric_(fabric), ranks_(ranks) {}

  void work(double seconds) {
    now_ += seconds;
    step_.compute += seconds;
  }
  /// Starts a collective on what is there now; when it is done.
  double start(Collective collective, double bytes) {
    if (ranks_ == 1) return now_;
    const double seconds = fabric_.seconds(collective, bytes, ranks_);
    link_ = std::max(link_, now_) + seconds;
    step_.communication += seconds;
    step_.sent_bytes += sent_bytes(collective, bytes, ranks_);
    return link_;
  }
  void wait(double until) {
    step_.exposed += std::max(0.0, until - now_);
    now_ = std::max(now_, until);
  }
  void wait_for_all() { wait(link_); }

  PredictedStep step() const {
    PredictedStep step = step_;
    step.seconds = now_;
    return step;
  }

 private:
  const Fabric& fabric_;
  int64_t ranks_;
  double now_ = 0.0, link_ = 0.0;
  PredictedStep step_;
};

/// Gradients on their way to each other, divided as engine/distributed/gradient_reduction.cpp divides them: by whole
/// parameters from the last to the first.
class Buckets {
 public:
  /// Of layers [0, count).
  Buckets(const std::vector<LayerWork>& layers, size_t count, const ScalingOptions& options)
      : wire_bytes_(options.wire_bytes) {
    const double limit = options.bucket_bytes / 4.0;
    for (size_t layer = count; layer-- > 0;) {
      const auto all = static_cast<double>(layers[layer].parameters);
      if (all == 0.0) continue;
      // The bias, or what a normalization adds, comes before what multiplies.
      const double added = std::min(all, static_cast<double>(layers[layer].channels));
      for (const double values : {added, all - added}) {
        if (buckets_.empty() || buckets_.back().values + values > limit) buckets_.push_back({});
        buckets_.back().values += values;
        buckets_.back().complete_with = layer;
      }
    }
  }

  /// Starts those whose last gradient is of this layer.
  void start(size_t layer, Timeline& timeline) {
    for (; next_ < buckets_.size() && buckets_[next_].complete_with >= layer; ++next_) {
      timeline.start(Collective::all_reduce, buckets_[next_].values * wire_bytes_);
    }
  }

 private:
  struct Bucket {
    double values = 0.0;
    size_t complete_with = 0;
  };
  std::vector<Bucket> buckets_;
  size_t next_ = 0;
  double wire_bytes_;
};

double parameters_of(const std::vector<LayerWork>& layers, bool head) {
  double sum = 0.0;
  for (const LayerWork& layer : layers) {
    if (layer.head == head) sum += static_cast<double>(layer.parameters);
  }
  return sum;
}

/// Through layers [0, count), until their gradients are reduced.
void work_backward(Timeline& timeline, const std::vector<LayerWork>& layers, size_t count, const Compute& compute,
                   const ScalingOptions& options) {
  Buckets buckets(layers, count, options);
  for (size_t layer = count; layer-- > 0;) {
    timeline.work(compute.layer(layers[layer], options.images, 1).backward);
    buckets.start(layer, timeline);
  }
  timeline.wait_for_all();
}

void check(const std::vector<LayerWork>& layers, const ScalingOptions& options) {
  require<ConfigError>(!layers.empty() && options.ranks > 0 && options.images > 0.0,
                       "scaling: expected layers, ranks and images, found {}, {} and {}", layers.size(), options.ranks,
                       options.images);
}

}  // namespace

double sent_bytes(Collective collective, double bytes, int64_t ranks) {
  const double others = static_cast<double>(ranks - 1) / static_cast<double>(ranks);
  return (collective == Collective::all_reduce ? 2.0 : 1.0) * others * bytes;
}

double Fabric::seconds(Collective collective, double bytes, int64_t ranks) const {
  if (ranks <= 1) return 0.0;
  const int64_t nodes = (ranks + ranks_a_node - 1) / ranks_a_node;
  const double rate = nodes == 1 ? inside : ranks_a_node == 1 ? between : std::min(inside, between);
  // All of a broadcast passes each link of the ring, cut into pieces that follow each other.
  const bool one_to_all = collective == Collective::broadcast || collective == Collective::reduce;
  const double on_the_link = one_to_all ? bytes : bench::sent_bytes(collective, bytes, ranks);
  const double turns = collective == Collective::all_reduce ? 2.0 : 1.0;
  double fastest = INFINITY;
  for (const Way& way : ways) {
    if (way.tree && collective != Collective::all_reduce) continue;
    const double inside_hops = static_cast<double>(way.tree ? std::min(ranks, ranks_a_node) - 1 : ranks - nodes);
    const double between_hops =
        way.tree ? std::ceil(std::log2(static_cast<double>(nodes))) : static_cast<double>(nodes - 1);
    const double latency = way.start + turns * (inside_hops * way.inside_hop + between_hops * way.between_hop);
    fastest = std::min(fastest, latency + on_the_link / (rate * way.share));
  }
  return fastest;
}

Fabric h100_nodes() {
  // NVLink: 450 GB/s each way (NVIDIA DGX H100 datasheet: 900 both), of which NCCL gets 370 (its maintainer, NVIDIA/
  // nccl-tests issue 212). InfiniBand NDR: 50 GB/s an adapter, of which nccl-tests should show 46 to 48 (issue 290);
  // a ring through the nodes has all eight. Latencies and shares: NCCL's own model of its time, src/graph/tuning.cc,
  // for its protocols Simple, LL128 and LL.
  constexpr double us = 1e-6;
  return {.name = "nodes of 8 H100s: NVLink 370 GB/s each way a GPU, InfiniBand 8 x 46 GB/s a node",
          .ranks_a_node = 8,
          .inside = 370e9,
          .between = 8 * 46e9,
          .ways = {{false, 8.4 * us, 3.4 * us, 14.0 * us, 1.0},
                   {false, 14.0 * us, 1.9 * us, 4.0 * us, 0.92},
                   {false, 6.6 * us, 0.6 * us, 2.7 * us, 0.25},
                   {true, 14.0 * us, 1.25 * us, 8.5 * us, 0.9 * 0.92},
                   {true, 6.8 * us, 0.6 * us, 5.0 * us, 0.9 * 0.25}}};
}

Fabric network(double bytes_per_second) {
  require<ConfigError>(bytes_per_second > 0.0, "scaling: a link's rate of {} bytes/s", bytes_per_second);
  // Assumed: what TCP on one machine takes for a message.
  constexpr double hop = 30e-6;
  return {.name = fmt::format("a rank a node, {:.4g} MB/s each way", bytes_per_second / 1e6),
          .ranks_a_node = 1,
          .inside = bytes_per_second,
          .between = bytes_per_second,
          .ways = {{false, 0.0, hop, hop, 1.0}}};
}

std::vector<LayerWork> layer_works(const models::ModelSummary& summary) {
  std::vector<LayerWork> layers;
  int64_t inputs = element_count(summary.input);
  bool head = false;
  for (const models::LayerSummary& layer : summary.layers) {
    head |= layer.type == "Linear";
    const int64_t outputs = element_count(layer.output) / summary.batch;
    layers.push_back(
        {layer.name, layer.type, head, layer.parameters, layer.macs, inputs, outputs, layer.output.back()});
    inputs = outputs;
  }
  return layers;
}

PredictedStep predict_data_parallel(const std::vector<LayerWork>& layers, const Compute& compute, const Fabric& fabric,
                                    const ScalingOptions& options) {
  check(layers, options);
  Timeline timeline(fabric, options.ranks);
  for (const LayerWork& layer : layers) timeline.work(compute.layer(layer, options.images, 1).forward);
  timeline.work(compute.loss(layers.back().outputs, options.images));
  work_backward(timeline, layers, layers.size(), compute, options);
  timeline.work(compute.update(parameters_of(layers, false) + parameters_of(layers, true)));
  return timeline.step();
}

PredictedStep predict_one_weird_trick(const std::vector<LayerWork>& layers, const Compute& compute,
                                      const Fabric& fabric, const ScalingOptions& options) {
  check(layers, options);
  const auto head = std::find_if(layers.begin(), layers.end(), [](const LayerWork& layer) { return layer.head; });
  require<ConfigError>(head != layers.end(), "scaling: one weird trick divides linear layers, and there are none");
  const int64_t rounds = options.rounds > 0 ? std::min(options.rounds, options.ranks) : options.ranks;
  const double all_images = options.images * static_cast<double>(options.ranks);
  const double images = all_images / static_cast<double>(rounds);
  const auto activations = [&](int64_t values) {
    return options.activation_bytes * images * static_cast<double>(values);
  };
  const auto gradients = [&](int64_t values) {
    return std::min(options.activation_bytes, options.wire_bytes) * images * static_cast<double>(values);
  };
  // A round's features come from one rank, or are every rank's share of them.
  const bool from_one = rounds == options.ranks;
  const Collective spread = from_one ? Collective::broadcast : Collective::all_gather;
  const Collective collect = from_one ? Collective::reduce : Collective::reduce_scatter;

  Timeline timeline(fabric, options.ranks);
  for (auto layer = layers.begin(); layer != head; ++layer) {
    timeline.work(compute.layer(*layer, options.images, 1).forward);
  }
  double features = timeline.start(spread, activations(head->inputs));
  for (int64_t round = 0; round < rounds; ++round) {
    timeline.wait(features);
    if (round + 1 < rounds) features = timeline.start(spread, activations(head->inputs));
    for (auto layer = head; layer != layers.end(); ++layer) {
      timeline.work(compute.layer(*layer, images, options.ranks).forward);
      if (layer->type == "Linear") timeline.wait(timeline.start(Collective::all_gather, activations(layer->outputs)));
    }
  }
  timeline.work(compute.loss(layers.back().outputs, all_images));
  for (int64_t round = 0; round < rounds; ++round) {
    for (auto layer = layers.end(); layer-- != head;) {
      timeline.work(compute.layer(*layer, images, options.ranks).backward);
      if (layer->type != "Linear") continue;
      if (layer == head) {
        timeline.start(collect, gradients(layer->inputs));
      } else {
        timeline.wait(timeline.start(Collective::reduce_scatter, gradients(layer->inputs)));
      }
    }
  }
  timeline.wait_for_all();
  work_backward(timeline, layers, static_cast<size_t>(head - layers.begin()), compute, options);
  timeline.work(
      compute.update(parameters_of(layers, false) + parameters_of(layers, true) / static_cast<double>(options.ranks)));
  return timeline.step();
}

}  // namespace striate::bench
