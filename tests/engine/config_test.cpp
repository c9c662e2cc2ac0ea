#include "engine/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::throws_with;
using testing::Test;

class ConfigFiles : public Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const auto path = dir_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }

  test::TempDir dir_;
};

TEST(Nearest, FindsTheSmallestEditDistance) {
  EXPECT_EQ(nearest("batch_sise", {"batch_size", "base", "path"}), "batch_size");
  EXPECT_EQ(nearest("sdg", {"adam", "sgd"}), "sgd");  // a swap is one edit
  EXPECT_EQ(nearest("AlexNet", {"lenet", "alexnet"}), "alexnet");
  EXPECT_EQ(nearest("zebra", {"batch_size", "path"}), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(ConfigReader, ReadsEveryType) {
  auto config = ConfigReader::parse(
      "a: 3\nb: -0.5\nc: yes\nd: some text\ne: [0.9, 0.999]\nf: 1e-3\ng: ~\nh: '10'\ni: +4\nj: {k: 1}\n");
  EXPECT_EQ(config.get("a", 0), 3);
  EXPECT_EQ(config.get("a", 0.0), 3.0);
  EXPECT_EQ(config.get("b", 0.0), -0.5);
  EXPECT_TRUE(config.get("c", false));
  EXPECT_EQ(config.get("d", ""), "some text");
  EXPECT_EQ(config.get_numbers("e"), (std::vector<double>{0.9, 0.999}));
  EXPECT_EQ(config.get_numbers("f"), std::vector<double>{1e-3});
  EXPECT_EQ(config.get("g", 7), 7);
  EXPECT_FALSE(config.has("g"));
  EXPECT_TRUE(config.has("a"));
  EXPECT_EQ(config.get("h", ""), "10");
  EXPECT_EQ(config.get("i", 0), 4);
  EXPECT_EQ(config.section("j").get("k", 0), 1);
  EXPECT_EQ(config.get("absent", 1.5), 1.5);
  EXPECT_FALSE(config.section("absent").has("k"));
  EXPECT_EQ(config.keys(), (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}));
  EXPECT_NO_THROW(config.finish());
}

TEST(ConfigReader, NamesKeyAndLineOfAWrongType) {
  auto config = ConfigReader::parse(
      "train:\n  epochs: ten\n  rate: [1, two]\n  shuffle: 3\n  big: 99999999999999999999\n"
      "  half: 1.5\n  quoted: '5'\n  odd: .nan\n  text: {a: 1}\n");
  auto train = config.section("train");
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.get("epochs", 1); },
                                       {"configuration:2: train.epochs: expected a whole number", "'ten'"}));
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { train.get_numbers("rate"); }, {":3: train.rate[1]: expected a number", "'two'"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.get("shuffle", true); },
                                       {":4: train.shuffle: expected true or false", "'3'"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.get("big", 1); }, {":5: train.big: expected a whole number"}));
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { train.get("half", 1); }, {":6: train.half: expected a whole number", "'1.5'"}));
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { train.get("quoted", 1); }, {"expected a whole number, found the text \"5\""}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.get("odd", 1.0); }, {":8: train.odd: expected a number"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.get("text", ""); }, {":9: train.text: expected text, found a map"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.section("epochs"); },
                                       {"train.epochs: expected a map of keys, found 'ten'"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { train.list("epochs"); }, {"train.epochs: expected a list"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { config.require_string("name"); }, {"name must be given"}));
}

TEST(ConfigReader, ChoiceNamesTheNearest) {
  auto config = ConfigReader::parse("optimizer: adm\nschedule: hyperbolic\n");
  EXPECT_TRUE(throws_with<ConfigError>(
      [&] {
        config.choice("optimizer", "sgd", {"sgd", "adam"});
      },
      {"configuration:1: optimizer: expected one of sgd | adam, found 'adm'", "did you mean 'adam'?"}));
  EXPECT_TRUE(throws_with<ConfigError>(
      [&] {
        config.choice("schedule", "step", {"step", "cosine"});
      },
      {"schedule: expected one of step | cosine, found 'hyperbolic'"}));
  EXPECT_EQ(config.choice("absent", "sgd", {"sgd", "adam"}), "sgd");
}

TEST(ConfigReader, FinishNamesTheFirstUnknownKeyAndTheNearestKnown) {
  auto config = ConfigReader::parse("train:\n  epochs: 3\n  batch_sise: 4\n");
  auto train = config.section("train");
  train.get("epochs", 1);
  train.get("batch_size", 1);
  EXPECT_TRUE(throws_with<ConfigError>(
      [&] { train.finish(); }, {"configuration:3: train.batch_sise: unknown key", "did you mean 'batch_size'?"}));
  EXPECT_NO_THROW(config.finish());
}

TEST(ConfigReader, ListTurnsBareWordsIntoMaps) {
  auto config = ConfigReader::parse("transforms: [{resize: 256}, horizontal_flip, {crop: {size: 32}}]\nbad: [[1]]\n");
  auto items = config.list("transforms");
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].keys(), std::vector<std::string>{"resize"});
  EXPECT_EQ(items[0].get("resize", 0), 256);
  EXPECT_EQ(items[1].keys(), std::vector<std::string>{"horizontal_flip"});
  EXPECT_FALSE(items[1].has("horizontal_flip"));
  EXPECT_TRUE(items[1].section("horizontal_flip").keys().empty());
  auto crop = items[2].section("crop");
  crop.get("padding", 0);
  EXPECT_TRUE(throws_with<ConfigError>([&] { crop.finish(); }, {"transforms[2].crop.size: unknown key"}));
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { config.list("bad"); }, {"bad[0]: expected a name or a map, found a list"}));
}

TEST(ConfigReader, BrokenYamlNamesTheLine) {
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("a: 1\nb: [1, 2\nc: 3\n"); },
                                       {"configuration:", "not valid YAML"}));
  EXPECT_TRUE(
      throws_with<ConfigError>([] { ConfigReader::parse("a: 1\n\tb: 2\n"); }, {"configuration:2", "not valid YAML"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse(", a"); }, {"configuration:1:"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("just a word"); },
                                       {"expected a map of keys, found 'just a word'"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("a: 1\n---\nb: 2\n"); },
                                       {"configuration:2: expected the end of the one YAML document"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("[a, b]: 1\n"); },
                                       {"configuration:1", "a key must be a plain word"}));
}

TEST(ConfigReader, DuplicateKeysAreErrorsAtAnyDepth) {
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("train:\n  epochs: 1\n  rate: 2\n  epochs: 3\n"); },
                                       {"configuration:4: train.epochs: stands twice, first in line 2"}));
}

TEST(ConfigReader, AliasesAreExpandedAndEndlessOnesRefused) {
  auto config = ConfigReader::parse("a: &common {x: 1}\nb: *common\n");
  EXPECT_EQ(config.section("b").get("x", 0), 1);
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("a: &a {b: *a}\n"); },
                                       {"configuration:1: a.b: an alias within its own"}));
  std::string doubling = "k0: &k0 [1, 1]\n";
  for (int i = 1; i < 40; ++i) doubling += fmt::format("k{0}: &k{0} [*k{1}, *k{1}]\n", i, i - 1);
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::parse(doubling); }, {"nested or aliased too deeply"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("a: " + std::string(80, '[')); }, {"too deeply"}));
  EXPECT_TRUE(throws_with<ConfigError>([] { ConfigReader::parse("a: " + std::string(4000, '[')); }, {"too deeply"}));
}

TEST(ConfigReader, TextReadsBackAsTheSame) {
  const std::string text =
      "a: 1\nb: {c: [1, 2.5], d: [{e: 3}, f]}\ng: '10'\nh: \"true\"\ni: ''\nj: -0.5\nk: \"a: b # c\"\nl: ~\nm: []\nn: "
      "{}\n"
      "o: +3\np: 1e-3\nq: \"two\\nlines\"\n";
  const auto first = ConfigReader::parse(text);
  auto second = ConfigReader::parse(first.text());
  EXPECT_EQ(first.text(), second.text());
  EXPECT_EQ(second.get("j", 0.0), -0.5);
  EXPECT_EQ(second.get("o", 0), 3);
  EXPECT_EQ(second.get("p", 0.0), 1e-3);
  EXPECT_EQ(second.get("k", ""), "a: b # c");
  EXPECT_EQ(second.get("q", ""), "two\nlines");
  EXPECT_EQ(second.get("i", "x"), "");
  EXPECT_THROW(second.get("g", 1), ConfigError);
  EXPECT_THROW(second.get("h", true), ConfigError);
}

TEST(ConfigReader, ControlCharactersReadBackToo) {
  const std::string text = ConfigReader::parse(R"("a\rb\r": "1\r\r2\x7f\t")").text();
  auto again = ConfigReader::parse(text);
  EXPECT_EQ(again.text(), text);
  EXPECT_EQ(again.keys(), std::vector<std::string>{"a\rb\r"});
  EXPECT_EQ(again.get("a\rb\r", ""), "1\r\r2\x7f\t");
}

TEST(ConfigReader, CompletedTextHasWhatWasReturnedForAbsentKeys) {
  auto config = ConfigReader::parse("b: {x: 7, list: [{crop: {size: 3}}]}\nnothing: ~\na: 2\n");
  config.get("a", 1);
  config.get("nothing", 4);
  ConfigReader b = config.section("b"), c = b.section("c");
  b.get("x", 0);
  EXPECT_EQ(b.list("list").front().section("crop").get("padding", 5), 5);
  b.list("none");
  c.get("truth", true);
  c.get("number", 0.25);
  c.get("text", "");
  c.get("tricky", "1: # 2");
  c.get_numbers("numbers", {0.9, 1e-8});
  c.choice("place", "", {"here", "there"});
  c.choice("kind", "sgd", {"sgd", "adam"});
  const std::string text = config.completed_text();
  EXPECT_EQ(text,
            "a: 2\nnothing: 4\nb:\n  c:\n    truth: true\n    number: 0.25\n    text: \"\"\n    tricky: \"1: # 2\"\n"
            "    numbers: [0.9, 1e-08]\n    place: ~\n    kind: sgd\n  x: 7\n  list:\n    - crop:\n        size: 3\n"
            "  none: []\n");
  EXPECT_EQ(ConfigReader::parse(text).text(), text);
}

TEST(ConfigReader, NodeGivesTheRawValueAndCountsAsRead) {
  auto config = ConfigReader::parse("steps: {1: 0.01, 16: 0.001}\n");
  const YAML::Node node = config.node("steps");
  EXPECT_EQ(node["16"].as<double>(), 0.001);
  EXPECT_FALSE(config.node("absent").IsDefined());
  EXPECT_NO_THROW(config.finish());
}

TEST(ConfigReader, CopiesAreIndependent) {
  auto config = ConfigReader::parse("a: 1\n");
  ConfigReader copy(config);
  copy.get("a", 0);
  EXPECT_NO_THROW(copy.finish());
  EXPECT_THROW(config.finish(), ConfigError);
}

TEST_F(ConfigFiles, BaseIsMergedDeeplyAndRelativeToTheFile) {
  write("bases/root.yaml",
        "seed: 1\ntrain:\n  epochs: 10\n  rates: [1, 2, 3]\n  optimizer: {name: sgd, momentum: 0.9}\n");
  write("bases/mid.yaml", "base: root.yaml\ntrain: {epochs: 20}\ndata: {path: here/there}\n");
  const std::string file =
      write("sub/leaf.yaml", "base: ../bases/mid.yaml\ntrain:\n  rates: [5]\n  optimizer: {nesterov: true}\n");
  auto config = ConfigReader::load(file);
  EXPECT_EQ(config.get("seed", 0), 1);
  EXPECT_FALSE(config.has("base"));
  EXPECT_EQ(config.section("data").get("path", ""), "here/there");  // as written
  auto train = config.section("train");
  EXPECT_EQ(train.get("epochs", 0), 20);
  EXPECT_EQ(train.get_numbers("rates"), std::vector<double>{5});
  auto optimizer = train.section("optimizer");
  EXPECT_EQ(optimizer.get("name", ""), "sgd");
  EXPECT_EQ(optimizer.get("momentum", 0.0), 0.9);
  EXPECT_TRUE(optimizer.get("nesterov", false));
  EXPECT_NE(train.where("epochs").find("mid.yaml:2: train.epochs"), std::string::npos) << train.where("epochs");
  EXPECT_NE(optimizer.where("momentum").find("root.yaml:5: train.optimizer.momentum"), std::string::npos)
      << optimizer.where("momentum");
  EXPECT_NE(optimizer.where("nesterov").find("leaf.yaml:4: train.optimizer.nesterov"), std::string::npos)
      << optimizer.where("nesterov");
}

TEST_F(ConfigFiles, NullRemovesWhatWasInherited) {
  write("base.yaml", "optimizer: {name: sgd, momentum: 0.9}\n");
  auto inherited = ConfigReader::load(write("adam.yaml", "base: base.yaml\noptimizer: {name: adam}\n"));
  auto optimizer = inherited.section("optimizer");
  optimizer.get("name", "");
  EXPECT_TRUE(throws_with<ConfigError>([&] { optimizer.finish(); },
                                       {"base.yaml:1: optimizer.momentum: unknown key", "'momentum: ~' removes it"}));
  auto removed = ConfigReader::load(write("fixed.yaml", "base: base.yaml\noptimizer: {name: adam, momentum: ~}\n"));
  EXPECT_EQ(removed.section("optimizer").keys(), std::vector<std::string>{"name"});
}

TEST_F(ConfigFiles, CirclesOfBasesAreNamed) {
  write("a.yaml", "base: b.yaml\n");
  write("b.yaml", "x: 1\nbase: c.yaml\n");
  write("c.yaml", "base: a.yaml\n");
  EXPECT_TRUE(throws_with<ConfigError>(
      [&] { ConfigReader::load((dir_ / "a.yaml").string()); },
      {"c.yaml:1: base: the bases go round in a circle", "a.yaml → ", "b.yaml → ", "c.yaml → "}));
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { ConfigReader::load(write("self.yaml", "base: self.yaml\n")); }, {"circle"}));
}

TEST_F(ConfigFiles, MissingFilesAreNamedWithWhoAsked) {
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { ConfigReader::load("nowhere.yaml"); }, {"no configuration file 'nowhere.yaml'"}));
  const std::string file = write("a.yaml", "x: 1\nbase: gone.yaml\n");
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file); },
                                       {"a.yaml:2: base: no configuration file '", "gone.yaml'"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(dir_.path().string()); }, {"is a folder"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(write("l.yaml", "base: [a, b]\n")); },
                                       {"l.yaml:1: base: expected the path of a YAML file, found a list"}));
}

TEST_F(ConfigFiles, OverridesSetAnyKey) {
  const std::string file =
      write("a.yaml", "train:\n  epochs: 10\n  optimizer: {name: sgd, momentum: 0.9}\n  list: [1]\n");
  auto config = ConfigReader::load(file, {"train.epochs=3", "train.optimizer={name: adam}", "model.name=lenet",
                                          "data.train_transforms=[{resize: 8}, flip]", "data.path=C:\\x=y"});
  auto train = config.section("train");
  EXPECT_EQ(train.get("epochs", 0), 3);
  EXPECT_EQ(train.section("optimizer").keys(), std::vector<std::string>{"name"});
  EXPECT_EQ(config.section("model").get("name", ""), "lenet");
  EXPECT_EQ(config.section("data").list("train_transforms").size(), 2u);
  EXPECT_EQ(config.section("data").get("path", ""), "C:\\x=y");
  EXPECT_EQ(train.where("epochs"), "--set: train.epochs");
  EXPECT_FALSE(ConfigReader::load(file, {"train.epochs=~"}).section("train").has("epochs"));
  EXPECT_EQ(ConfigReader::load("", {"seed=5"}).get("seed", 0), 5);
}

TEST_F(ConfigFiles, WrongOverridesAreErrors) {
  const std::string file = write("a.yaml", "train: {epochs: 10, list: [1]}\n");
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"train.epochs"}); },
                                       {"--set 'train.epochs': expected KEY=VALUE"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"=3"}); }, {"expected KEY=VALUE"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"train..epochs=3"}); }, {"empty part"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"train.epochs.x=3"}); },
                                       {"train.epochs is '10', not a map", "a.yaml:1"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"train.list.0=3"}); },
                                       {"train.list is a list, not a map"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"train.epochs=[1"}); },
                                       {"--set train.epochs=[1", "not valid YAML"}));
  EXPECT_TRUE(throws_with<ConfigError>([&] { ConfigReader::load(file, {"base=b.yaml"}); },
                                       {"a base can only be named in a file"}));
  EXPECT_TRUE(throws_with<ConfigError>(
      [&] {
        auto config = ConfigReader::load(file, {"train.epochs=ten"});
        config.section("train").get("epochs", 1);
      },
      {"--set: train.epochs: expected a whole number, found 'ten'"}));
}

}  // namespace
}  // namespace striate
