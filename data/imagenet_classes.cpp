#include "data/imagenet_classes.h"

#include <algorithm>

namespace striate {
namespace {

// "n01440764 tench", a class a line: data/imagenet_classes.txt, which CMake puts here.
constexpr std::string_view kLines =
#include "data/imagenet_classes.inc"
    ;

constexpr size_t kIdLength = 9;

std::vector<ImagenetClass> parse_lines() {
  std::vector<ImagenetClass> classes;
  for (size_t begin = 0; begin < kLines.size();) {
    const size_t end = kLines.find('\n', begin);
    const std::string_view line = kLines.substr(begin, end - begin);
    classes.push_back({line.substr(0, kIdLength), line.substr(kIdLength + 1)});
    begin = end + 1;
  }
  return classes;
}

}  // namespace

std::span<const ImagenetClass> imagenet_classes() {
  static const std::vector<ImagenetClass> classes = parse_lines();
  return classes;
}

bool is_wordnet_id(std::string_view text) {
  return text.size() == kIdLength && text[0] == 'n' &&
         std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string> readable_class_names(std::vector<std::string> folder_names) {
  if (!std::all_of(folder_names.begin(), folder_names.end(), is_wordnet_id)) return folder_names;
  const auto classes = imagenet_classes();
  for (std::string& name : folder_names) {
    const auto found = std::lower_bound(classes.begin(), classes.end(), std::string_view(name),
                                        [](const ImagenetClass& c, std::string_view id) { return c.id < id; });
    if (found != classes.end() && found->id == name) name = found->name;
  }
  return folder_names;
}

}  // namespace striate
