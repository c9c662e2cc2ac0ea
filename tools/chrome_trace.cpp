#include "tools/chrome_trace.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace striate {
namespace {

using Json = nlohmann::ordered_json;

// Processes and threads of the format: what a viewer shows as groups of rows.
constexpr int kHost = 1, kGpu = 2;
constexpr int kFirstWorker = 100;
constexpr int kBeside = 50;  // on the GPU: copies in a stream of their own

std::string row_name(Pass pass) {
  switch (pass) {
    case Pass::step:
      return "steps";
    case Pass::wait:
      return "waits";
    case Pass::load:
      return "loading";
    case Pass::copy:
      return "copies";
    case Pass::forward:
      return "forward";
    case Pass::backward:
      return "backward";
    case Pass::optimizer:
      return "optimizer";
    case Pass::communicate:
      return "between ranks";
    case Pass::other:
      break;
  }
  return "other";
}

int64_t nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

/// In microseconds, as the format has it: of whole nanoseconds, so that what lies inside stays inside.
Json complete_event(const ProfileEvent& event, int process, int row, double begin, double seconds) {
  const int64_t from = nanoseconds(begin), to = nanoseconds(begin + seconds);
  Json args = Json::object();
  if (!event.layer.empty()) args["layer"] = event.layer;
  if (event.is_kernel) {
    args["op"] = event.name;
    args["shape"] = event.size;
    args["bytes"] = event.bytes;
    args["flops"] = event.flops;
    if (seconds > 0.0 && event.flops > 0.0) args["GFLOP/s"] = event.flops / seconds / 1e9;
    if (seconds > 0.0 && event.bytes > 0.0) args["GB/s"] = event.bytes / seconds / 1e9;
  }
  return {{"name", event.name},
          {"cat", event.is_kernel ? to_string(event.pass) + ",kernel" : to_string(event.pass)},
          {"ph", "X"},
          {"ts", static_cast<double>(from) / 1e3},
          {"dur", static_cast<double>(to - from) / 1e3},
          {"pid", process},
          {"tid", row},
          {"args", args}};
}

Json metadata(const char* what, int process, int row, const char* key, const Json& value) {
  return {{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", row}, {"args", {{key, value}}}};
}

}  // namespace

std::string chrome_trace(const std::vector<ProfileEvent>& events,
                         const std::vector<std::pair<std::string, std::string>>& facts) {
  std::map<std::pair<int, int>, std::string> rows;
  Json complete = Json::array();
  for (const ProfileEvent& event : events) {
    const bool is_worker = event.thread > 0 && event.pass != Pass::communicate;
    const int row = is_worker ? kFirstWorker + event.thread : static_cast<int>(event.pass);
    rows[{kHost, row}] = is_worker
                             ? fmt::format("{} {}", event.pass == Pass::load ? "loader worker" : "thread", event.thread)
                             : row_name(event.pass);
    complete.push_back(complete_event(event, kHost, row, event.begin, event.seconds));
    if (!event.on_gpu) continue;
    const int gpu_row = event.beside ? kBeside : static_cast<int>(event.pass);
    rows[{kGpu, gpu_row}] = event.beside ? "copies beside the kernels" : row_name(event.pass);
    complete.push_back(complete_event(event, kGpu, gpu_row, event.gpu_begin, event.gpu_seconds));
  }
  Json all = Json::array();
  bool gpu = false;
  for (const auto& [place, name] : rows) gpu |= place.first == kGpu;
  all.push_back(metadata("process_name", kHost, 0, "name", gpu ? "host: work handed over" : "host"));
  if (gpu) all.push_back(metadata("process_name", kGpu, 0, "name", "GPU, by its own clock"));
  for (const auto& [place, name] : rows) {
    all.push_back(metadata("thread_name", place.first, place.second, "name", name));
    all.push_back(metadata("thread_sort_index", place.first, place.second, "sort_index", place.second));
  }
  for (Json& event : complete) all.push_back(std::move(event));
  Json document = {{"traceEvents", std::move(all)}, {"displayTimeUnit", "ms"}, {"otherData", Json::object()}};
  for (const auto& [name, value] : facts) document["otherData"][name] = value;
  return document.dump() + "\n";
}

}  // namespace striate
