#include "tools/machine.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <charconv>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "kernels/gpu/device.h"

namespace striate {
namespace {

std::string text_of(const char* file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// What stands behind "key   :" in the first line that begins with the key; empty where none does.
std::string value_of(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

/// Without (R), (TM), the word CPU and a clock rate, which say nothing that the name does not.
std::string plain(std::string name) {
  for (const std::string noise : {"(R)", "(TM)", "(r)", "(tm)", " CPU"}) {
    for (size_t at; (at = name.find(noise)) != std::string::npos;) name.erase(at, noise.size());
  }
  if (const size_t clock = name.find(" @"); clock != std::string::npos) name.erase(clock);
  while (name.ends_with(' ')) name.pop_back();
  return name;
}

}  // namespace

std::string machine_description(const std::string& cpuinfo, const std::string& meminfo, unsigned cores) {
  std::string name = plain(value_of(cpuinfo, "model name"));  // absent on ARM
  std::string description = name.empty() ? "" : name + ", ";
  description += fmt::format("{} core{}", cores, cores == 1 ? "" : "s");
  const std::string total = value_of(meminfo, "MemTotal");  // "24576000 kB"
  double kibibytes = 0.0;
  if (std::from_chars(total.data(), total.data() + total.size(), kibibytes).ec == std::errc()) {
    description += fmt::format(", {:.1f} GiB of memory", kibibytes / (1 << 20));
  }
  return description;
}

std::string machine_description(Device device) {
  const std::string host =
      machine_description(text_of("/proc/cpuinfo"), text_of("/proc/meminfo"), std::thread::hardware_concurrency());
  const std::string gpu = device_notice(device);
  return gpu.empty() ? host : host + "; " + gpu;
}

int64_t peak_resident_bytes() {
  const std::string kibibytes = value_of(text_of("/proc/self/status"), "VmHWM");  // "12345 kB"
  return kibibytes.empty() ? 0 : std::stoll(kibibytes) * 1024;
}

std::string times_notice(Device device) {
  if (device != Device::cuda || gpu::built_for_gpu()) return "";
  return "Times of device cuda mean nothing here: this build executes its kernels on the host, thread by thread, to "
         "check them.";
}

Provenance provenance(Device device) {
  const std::time_t now = std::time(nullptr);
  Provenance facts = build_facts();
  facts.push_back({"machine", machine_description(device)});
  if (device == Device::cuda && gpu::built_for_gpu()) facts.push_back({"cuda", gpu::versions()});
  facts.push_back({"date", fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(now))});
  if (const std::string notice = times_notice(device); !notice.empty()) facts.push_back({"notice", notice});
  return facts;
}

std::string provenance_comment(Device device) { return comment_of(provenance(device)); }

std::string provenance_line(Device device) {
  const Provenance facts = provenance(device);
  std::string text;
  for (const char* wanted : {"machine", "cuda", "compiler", "version", "commit", "date", "notice"}) {
    for (const auto& [name, value] : facts) {
      if (name != wanted) continue;
      if (!text.empty()) text += name == "commit" ? ", " : " · ";
      text += name == "date" ? value.substr(0, 10) : value;
    }
  }
  return text;
}

}  // namespace striate
