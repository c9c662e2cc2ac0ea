#include "engine/profiler.h"

#include <algorithm>

#include "kernels/error.h"

namespace striate {

Profiler::Profiler() {
  require<Error>(current_ == nullptr, "profiler: another one is at work");
  current_ = this;
}

Profiler::~Profiler() { current_ = nullptr; }

void Profiler::add(const char* kernel, std::string size, double seconds, double flops) {
  ProfileRow& row = rows_[{kernel, std::move(size)}];
  ++row.calls;
  row.seconds += seconds;
  row.flops += flops;
}

std::vector<ProfileRow> Profiler::rows() const {
  std::vector<ProfileRow> rows;
  for (const auto& [key, row] : rows_) {
    rows.push_back(row);
    rows.back().kernel = key.first;
    rows.back().size = key.second;
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

void KernelTimer::start() {
  synchronize(device_);
  start_ = Clock::now();
}

void KernelTimer::stop() {
  try {
    synchronize(device_);
  } catch (const std::exception&) {
    return;  // the next call that may throw tells of it
  }
  profiler_->add(kernel_, std::move(size_), std::chrono::duration<double>(Clock::now() - start_).count(), flops_);
}

}  // namespace striate
