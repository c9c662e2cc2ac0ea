#include "benchmarks/layer_times.h"

#include <algorithm>
#include <map>
#include <utility>

#include "benchmarks/timed_network.h"
#include "kernels/error.h"

namespace striate::bench {
namespace {

constexpr const char* kBetween = "between kernels";
constexpr const char* kOutside = "outside of layers";

struct Cell {
  std::vector<double> seconds;  // a step each
  double flops = 0.0, bytes = 0.0, least_seconds = 0.0;
  std::string kernel;  // the first
};

bool is_fusable(const models::LayerSummary& layer) {
  return layer.type == "ReLU" || layer.type == "LeakyReLU" || layer.type == "MaxPool2d" || layer.type == "Dropout";
}

/// What a layer is called, with those behind it that it computes along; in inference dropout computes nothing.
std::string described(const models::ModelSummary& summary, size_t at, const std::map<std::string, bool>& works,
                      bool training) {
  const models::LayerSummary& layer = summary.layers[at];
  std::string text = layer.short_form.empty() ? layer.type : layer.short_form;
  for (size_t next = at + 1; next < summary.layers.size(); ++next) {
    const models::LayerSummary& behind = summary.layers[next];
    if (!is_fusable(behind) || works.count(behind.name) > 0) break;
    if (behind.type == "Dropout" && !training) break;
    text += " + " + behind.type;
  }
  return text;
}

}  // namespace

LayerTimes layer_times(const std::vector<ProfileEvent>& events, const models::ModelSummary& summary,
                       const std::optional<MachineLimit>& limit) {
  std::vector<const ProfileEvent*> steps;
  for (const ProfileEvent& event : events) {
    if (event.pass == Pass::step) steps.push_back(&event);
  }
  require<Error>(!steps.empty(), "layers: no step was profiled");
  using Key = std::pair<std::string, Pass>;
  std::map<Key, Cell> cells;
  std::vector<Key> order;
  std::map<std::string, bool> works;
  std::vector<double> step_seconds, between;
  for (size_t s = 0; s < steps.size(); ++s) {
    step_seconds.push_back(steps[s]->seconds);
    between.push_back(steps[s]->seconds);
  }
  size_t s = 0;
  for (const ProfileEvent& event : events) {
    if (!event.is_kernel || event.thread != 0) continue;
    while (s < steps.size() && event.begin >= steps[s]->begin + steps[s]->seconds) ++s;
    if (s == steps.size() || event.begin < steps[s]->begin) continue;
    Pass pass = event.pass;
    std::string layer = event.layer;
    if (layer.empty()) layer = pass == Pass::optimizer ? "optimizer" : pass == Pass::copy ? "copies" : kOutside;
    works[layer] = true;
    const Key key{layer, pass};
    const auto [found, is_new] = cells.try_emplace(key);
    Cell& cell = found->second;
    if (is_new) {
      order.push_back(key);
      cell.kernel = event.name;
    }
    cell.seconds.resize(steps.size());
    cell.seconds[s] += event.kernel_seconds();
    between[s] -= event.kernel_seconds();
    cell.flops += event.flops;
    cell.bytes += event.bytes;
    if (limit) cell.least_seconds += std::max(event.flops / limit->flops, event.bytes / limit->bytes);
  }

  std::map<std::string, size_t> place;
  for (size_t i = 0; i < summary.layers.size(); ++i) place[summary.layers[i].name] = i;
  LayerTimes times;
  times.steps = static_cast<int>(steps.size());
  times.step_seconds = median(step_seconds);
  const bool training =
      std::any_of(order.begin(), order.end(), [](const Key& key) { return key.second == Pass::backward; });
  const auto each = 1.0 / static_cast<double>(steps.size());
  for (const Key& key : order) {
    const Cell& cell = cells[key];
    LayerTime row;
    row.layer = key.first;
    row.pass = key.second;
    const auto known = place.find(row.layer);
    if (known != place.end()) {
      row.what = described(summary, known->second, works, training);
      row.kind = summary.layers[known->second].type;
    } else {
      row.what = cell.kernel;  // the residual sum of a module with layers inside, the loss, the update
    }
    row.seconds = median(cell.seconds);
    row.flops = cell.flops * each;
    row.bytes = cell.bytes * each;
    row.share = row.seconds / times.step_seconds;
    if (limit && row.seconds > 0.0) row.of_limit = cell.least_seconds * each / row.seconds;
    times.rows.push_back(std::move(row));
  }
  LayerTime rest;
  rest.layer = kBetween;
  rest.pass = Pass::other;
  rest.seconds = std::max(0.0, median(between));
  rest.share = rest.seconds / times.step_seconds;
  times.rows.push_back(std::move(rest));
  return times;
}

}  // namespace striate::bench
