#include "engine/profiler.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "engine/nvtx.h"
#include "kernels/error.h"

namespace striate {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Where this thread is at work.
struct Place {
  Pass pass = Pass::other;
  ProfileLayer layer;
};
thread_local Place place;

std::atomic<uint64_t> threads_seen{0};
thread_local const uint64_t this_thread = threads_seen.fetch_add(1);

/// Of the current profiler and all that is in it: loader's threads tell it of their work, and may outlive it.
std::mutex& mutex() {
  static auto* instance = new std::mutex;
  return *instance;
}

}  // namespace

std::string to_string(Pass pass) {
  constexpr std::array<const char*, 9> kNames{"step",     "wait",      "load",        "copy", "forward",
                                              "backward", "optimizer", "communicate", "other"};
  return kNames[static_cast<size_t>(pass)];
}

Profiler::Profiler() {
  const std::lock_guard lock(mutex());
  require<Error>(current_ == nullptr, "profiler: another one is at work");
  begin_ = Clock::now();
  threads_[this_thread] = 0;
  current_ = this;
}

Profiler::~Profiler() {
  const std::lock_guard lock(mutex());
  current_ = nullptr;
}

void Profiler::name_layer(const void* module, const std::string& name, const std::string& type) {
  const std::lock_guard lock(mutex());
  layers_[module] = {name, type};
}

void Profiler::clear() {
  const std::lock_guard lock(mutex());
  entries_.clear();
  anchors_.clear();
  begin_ = Clock::now();
}

std::string Profiler::name_of(const ProfileLayer& layer) const {
  if (layer.name != nullptr) return layer.name;
  const auto found = layers_.find(layer.module);
  return found == layers_.end() ? "" : found->second.first;
}

std::string Profiler::label(const char* name, const ProfileLayer& layer) const {
  if (name != nullptr) return name;
  const std::string own = name_of(layer);
  if (!own.empty()) return own;
  const auto found = layers_.find(layer.module);
  return found == layers_.end() ? "layer" : found->second.second;
}

void Profiler::keep(Entry entry, Clock::time_point begin, Clock::time_point end) {
  if (begin < begin_) return;  // it began before clear()
  entry.event.begin = seconds_between(begin_, begin);
  entry.event.seconds = seconds_between(begin, end);
  entry.event.thread = threads_.emplace(this_thread, static_cast<int>(threads_.size())).first->second;
  entry.event.layer = name_of(entry.layer);
  if (entry.event.name.empty()) entry.event.name = label(nullptr, entry.layer);
  entries_.push_back(std::move(entry));
}

void Profiler::add(const Profiler* profiler, Entry entry, Clock::time_point begin) {
  const Clock::time_point end = Clock::now();
  const std::lock_guard lock(mutex());
  Profiler* now = current_;
  if (now == profiler) now->keep(std::move(entry), begin, end);
}

void Profiler::add_step(double seconds) {
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex());
  Entry entry;
  entry.event.name = "step";
  entry.event.pass = Pass::step;
  keep(std::move(entry), now - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)),
       now);
  if (!anchors_.empty()) anchors_.emplace_back().record(*stream_);
}

void Profiler::add_exchange(const char* name, int64_t bytes, Clock::time_point begin) {
  const Profiler* const profiler = current();
  if (profiler == nullptr) return;
  Entry entry;
  entry.event.name = name;
  entry.event.size = fmt::format("{} bytes", bytes);
  entry.event.bytes = static_cast<double>(bytes);
  entry.event.pass = Pass::communicate;
  entry.event.is_kernel = entry.event.beside = true;
  add(profiler, std::move(entry), begin);
}

std::shared_ptr<Profiler::GpuSpan> Profiler::begin_on_gpu(gpu::Stream& stream, gpu::Stream& own) {
  const std::lock_guard lock(mutex());
  if (anchors_.empty()) {
    stream_ = &own;
    own.synchronize();  // so that the host's clock and the GPU's are read at once
    anchors_.emplace_back().record(own);
    anchors_.back().synchronize();
    first_anchor_ = seconds_between(begin_, Clock::now());
  }
  auto span = std::make_shared<GpuSpan>();
  span->anchor = anchors_.size() - 1;
  span->begin.record(stream);
  return span;
}

std::vector<ProfileEvent> Profiler::events() {
  const std::lock_guard lock(mutex());
  std::vector<double> anchors;
  for (size_t i = 0; i < anchors_.size(); ++i) {
    anchors_[i].synchronize();
    anchors.push_back(i == 0 ? first_anchor_ : anchors[i - 1] + 1e-3 * anchors_[i].milliseconds_since(anchors_[i - 1]));
  }
  std::vector<ProfileEvent> events;
  for (const Entry& entry : entries_) {
    events.push_back(entry.event);
    if (entry.gpu == nullptr) continue;
    const GpuSpan& span = *entry.gpu;
    span.end.synchronize();
    events.back().on_gpu = true;
    events.back().gpu_begin = anchors[span.anchor] + 1e-3 * span.begin.milliseconds_since(anchors_[span.anchor]);
    events.back().gpu_seconds = 1e-3 * span.end.milliseconds_since(span.begin);
  }
  std::stable_sort(events.begin(), events.end(), [](const ProfileEvent& a, const ProfileEvent& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.seconds > b.seconds;
  });
  return events;
}

std::vector<ProfileRow> Profiler::rows() {
  std::map<std::pair<std::string, std::string>, ProfileRow> found;
  for (const ProfileEvent& event : events()) {
    if (!event.is_kernel) continue;
    ProfileRow& row = found[{event.name, event.size}];
    row.kernel = event.name;
    row.size = event.size;
    ++row.calls;
    row.seconds += event.kernel_seconds();
    row.flops += event.flops;
    row.beside = event.beside;
  }
  std::vector<ProfileRow> rows;
  for (auto& [key, row] : found) rows.push_back(std::move(row));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

ProfileLayer ProfileScope::layer() { return place.layer; }

void ProfileScope::enter(Pass pass, const ProfileLayer& layer) {
  outer_pass_ = place.pass;
  outer_layer_ = place.layer;
  if (pass == Pass::forward && place.pass == Pass::backward) pass = Pass::backward;
  place = {pass, layer};
  nvtx::begin_range(profiler_->label(name_, layer).c_str());
  begin_ = Clock::now();
}

void ProfileScope::leave() {
  Profiler::Entry entry;
  if (name_ != nullptr) entry.event.name = name_;
  entry.event.pass = place.pass;
  entry.layer = place.layer;
  place = {outer_pass_, outer_layer_};
  Profiler::add(profiler_, std::move(entry), begin_);
  nvtx::end_range();
}

KernelTimer::KernelTimer(const TimedCopy& copy) : profiler_(Profiler::current()) {
  if (profiler_ == nullptr) return;
  // A copy is read and written.
  start(copy.device, copy.name, fmt::format("{} bytes", copy.bytes), 0.0, 2.0 * static_cast<double>(copy.bytes),
        copy.stream);
  entry_->event.pass = Pass::copy;
  entry_->event.beside = copy.stream != nullptr;
}

void KernelTimer::start(Device device, const char* kernel, const std::string& size, double flops, double bytes,
                        gpu::Stream* stream) {
  entry_ = std::make_unique<Profiler::Entry>();
  ProfileEvent& event = entry_->event;
  event.name = kernel;
  event.size = size;
  event.flops = flops;
  event.bytes = bytes;
  event.is_kernel = true;
  event.pass = place.pass;
  entry_->layer = place.layer;
  nvtx::begin_range(kernel);
  begin_ = Clock::now();
  if (device != Device::cuda) return;
  gpu::Stream& own = *context(device).stream;
  stream_ = stream != nullptr ? stream : &own;
  entry_->gpu = profiler_->begin_on_gpu(*stream_, own);
}

void KernelTimer::stop() {
  nvtx::end_range();
  try {
    if (entry_->gpu != nullptr) entry_->gpu->end.record(*stream_);
  } catch (const std::exception&) {
    return;  // the next call that may throw tells of it
  }
  Profiler::add(profiler_, std::move(*entry_), begin_);
}

}  // namespace striate
