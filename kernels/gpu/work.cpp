#include "kernels/gpu/work.h"

namespace striate::gpu {

std::string kernel_of_launch(const char* text) {
  int depth = 0;
  const char* end = text;
  for (; *end != '\0'; ++end) {
    if (*end == '<' || *end == '(') ++depth;
    if (*end == '>' || *end == ')') --depth;
    if (*end == ',' && depth == 0) break;
  }
  return {text, end};
}

std::string Work::name() const {
  switch (kind) {
    case Kind::kernel:
      return kernel_of_launch(text);
    case Kind::copy:
      return "copy";
    case Kind::set:
      return "set";
  }
  return "?";
}

void WorkCounts::add(const Work& work) {
  switch (work.kind) {
    case Work::Kind::kernel:
      ++launches;
      break;
    case Work::Kind::copy:
      ++copies;
      copied_bytes += static_cast<int64_t>(work.bytes);
      break;
    case Work::Kind::set:
      ++sets;
      set_bytes += static_cast<int64_t>(work.bytes);
      break;
  }
}

void WorkCounts::add(const WorkCounts& other) {
  launches += other.launches;
  copies += other.copies;
  sets += other.sets;
  replays += other.replays;
  copied_bytes += other.copied_bytes;
  set_bytes += other.set_bytes;
}

WorkCounts operator-(const WorkCounts& after, const WorkCounts& before) {
  return {after.launches - before.launches,
          after.copies - before.copies,
          after.sets - before.sets,
          after.replays - before.replays,
          after.copied_bytes - before.copied_bytes,
          after.set_bytes - before.set_bytes};
}

}  // namespace striate::gpu
