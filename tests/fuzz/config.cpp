// A configuration: its file, that file's base, and overrides, one a line. Sections are read as the tools read them;
// the texts that a run's folder gets must read back the same.
#include "engine/config.h"

#include "data/config.h"
#include "engine/train/train_options.h"
#include "kernels/error.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {
namespace {

/// A section's errors do not keep the others from being read.
template <typename Read>
void tolerate(Read read) {
  try {
    read();
  } catch (const ConfigError&) {
  }
}

/// Every key in every form that a reader may ask for.
void ask_everything(ConfigReader reader, int depth) {
  for (const std::string& key : reader.keys()) {
    tolerate([&] { reader.get(key, true); });
    tolerate([&] { reader.get(key, int64_t{1}); });
    tolerate([&] { reader.get(key, 1.0); });
    tolerate([&] { reader.get(key, "text"); });
    tolerate([&] { reader.get_numbers(key, {1.0}); });
    tolerate([&] { reader.choice(key, "one", {"one", "two", "three"}); });
    if (depth == 0) continue;
    tolerate([&] { ask_everything(reader.section(key), depth - 1); });
    tolerate([&] {
      for (const ConfigReader& item : reader.list(key)) ask_everything(item, depth - 1);
    });
  }
  tolerate([&] { DistributedOptions::parse(reader.section("distributed")); });
  tolerate([&] { reader.finish(); });
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const auto files = split(input, 3);
  const std::string path = folder.put("main.yaml", files[0]);
  folder.put("base.yaml", files[1]);
  std::vector<std::string> overrides;
  for (std::string_view rest = files[2]; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    overrides.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }

  ConfigReader reader = ConfigReader::load(path, overrides);
  ask_everything(reader, 3);
  tolerate([&] { read_data_config(reader.section("data")); });
  tolerate([&] { TrainOptions::parse(reader.section("train")); });
  tolerate([&] { DistributedOptions::parse(reader.section("distributed")); });
  tolerate([&] { reader.finish(); });
  for (const std::string& text : {reader.text(), reader.completed_text()}) {
    if (ConfigReader::load(folder.put("main.yaml", text)).text() != text) {
      expect(false, "a text that reads back the same");
    }
  }
}

}  // namespace striate::fuzz
