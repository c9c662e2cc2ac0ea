// Writes the files that the fuzz targets start from, with the writers that the product and its tests have:
//   fuzz_corpus FOLDER
// A file that fuzzing found worth keeping is kept beside them by hand.
#include <zlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "data/datasets/packed/packed_writer.h"
#include "engine/crc32c.h"
#include "engine/storage.h"
#include "engine/train/safetensors.h"
#include "tests/data/archive_files.h"
#include "tests/data/dataset_files.h"
#include "tests/fuzz/input.h"
#include "tests/models/weights/torch_archive.h"
#include "tests/support/event_reader.h"

namespace striate::fuzz {
namespace {

namespace fs = std::filesystem;
using test::PickleWriter;

std::string text_of(const test::Bytes& bytes) { return std::string(bytes.begin(), bytes.end()); }

std::string joined(const std::vector<std::string>& files) {
  std::string input;
  for (const std::string& file : files)
    input += (input.empty() && &file == files.data() ? "" : std::string(kNextFile)) + file;
  return input;
}

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct Corpus {
  fs::path root;
  void put(const std::string& target, const std::string& name, const std::string& bytes) const {
    fs::create_directories(root / target);
    test::put_file(root / target / name, bytes);
  }
};

void write_datasets(const Corpus& corpus) {
  const test::Bytes images = test::idx_images(3, 4, 5), labels = test::idx_labels(3);
  corpus.put("idx", "plain", joined({text_of(images), text_of(labels)}));
  corpus.put("idx", "gzipped", joined({text_of(test::gzipped(images)), text_of(test::gzipped(labels))}));
  const std::string ten("\3p\7q", 4), hundred("\0\x63r", 3);  // as the target spells records out
  corpus.put("cifar", "ten", joined({"", ten, ten}));
  corpus.put("cifar", "ten_with_names", joined({"a\nb\nc\nd\r\ne\nf\n\ng\nh\ni\nj\n", ten, ten}));
  corpus.put("cifar", "hundred", joined({"", hundred, hundred}));
}

void write_safetensors_files(const Corpus& corpus) {
  const Metadata metadata{{"model", "lenet"}, {"layout", "striate"}};
  std::string header =
      safetensors_header({{"a.weight", DType::float32, {2, 1, 3}}, {"a.bias", DType::uint8, {3}}}, metadata);
  corpus.put("safetensors", "two", header + std::string(2 * 3 * 4 + 3, 'x'));
  header = safetensors_header({{"steps", DType::int64, {}}, {"none", DType::int32, {0, 4}}}, {});
  corpus.put("safetensors", "scalar_and_empty", header + std::string(8, '\1'));
  corpus.put("safetensors", "empty", safetensors_header({}, {}));
  const auto half = [](const char* type, size_t bytes) {
    const std::string json = std::string("{\"t\":{\"dtype\":\"") + type + "\",\"shape\":[2],\"data_offsets\":[0," +
                             std::to_string(2 * bytes) + "]}}";
    const uint64_t length = json.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json + std::string(2 * bytes, '\x3c');
  };
  corpus.put("safetensors", "f16", half("F16", 2));
  corpus.put("safetensors", "bf16", half("BF16", 2));
  corpus.put("safetensors", "f64", half("F64", 8));
}

void write_torch_files(const Corpus& corpus) {
  const std::string one =
      PickleWriter().begin_dict().text("w").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}).end_dict().stop();
  const std::string views = PickleWriter()
                                .raw("}(")
                                .text("state_dict")
                                .begin_dict()
                                .text("module.a")
                                .tensor("HalfStorage", "0", 12, 2, {3, 2}, {1, 5})
                                .text("module.b")
                                .tensor("LongStorage", "1", 3, 0, {}, {})
                                .end_dict()
                                .text("epoch")
                                .number(70000)
                                .raw("u")
                                .stop();
  // Memoized values, texts of protocol 4, every small value, and a dict with attributes.
  const std::string memo =
      std::string("\x80\x04\x95\0\0\0\0\0\0\0\0", 11) + "\x8c\x0b" +
      "collections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94q\x07(h\x02)RN\x88\x89G@\x09!\xfbTD-\x18" +
      std::string(
          "\x8a\x02\xff\xff"
          "M\0\1u]K\1a(NNe\x85\x86\x87t0") +
      "h\x07}b.";
  corpus.put("pickle", "one", one);
  corpus.put("pickle", "views", views);
  corpus.put("pickle", "memo", memo);
  corpus.put("pickle", "refused", PickleWriter().global("os", "system").raw("(").text("ls").raw("tR").stop());

  const auto archive = [](const std::string& pickle, const std::vector<std::string>& storages) {
    std::vector<test::ZipEntry> entries{{"n/data.pkl", pickle}, {"n/byteorder", "little"}};
    for (size_t i = 0; i < storages.size(); ++i) entries.push_back({"n/data/" + std::to_string(i), storages[i]});
    return test::zip_of(entries);
  };
  corpus.put("torch_file", "one", archive(one, {std::string(24, 'f')}));
  corpus.put("torch_file", "views", archive(views, {std::string(24, 'h'), std::string(24, 'l')}));
  corpus.put("torch_file", "lies", test::zip_of({{"n/data.pkl", one}, {"n/data/0", "", 24, 8}}));
  corpus.put("torch_file", "ppmd",
             test::zip_of({{"n/data.pkl", one}, {"n/data/0", test::wide_ppmd_stream(), 24, test::kPpmd}}));
}

void write_events(const Corpus& corpus) {
  const std::string version = std::string("\x09\0\0\0\0\0\x80\xd9\x41\x1a\x0d", 11) + "brain.Event:2";
  // step 300, summary { value { tag: "x", simple_value: 1.5 } }
  const std::string scalar = std::string("\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01x\x15\0\0\xc0\x3f", 15);
  const std::string start("\x10\x2a\x3a\x02\x08\x01");
  corpus.put("events", "version", test::event_record(version));
  corpus.put("events", "run", test::event_record(version) + test::event_record(start) + test::event_record(scalar));
}

void write_images(const Corpus& corpus) {
  Image image;
  for (const int channels : {1, 3, 4}) {
    image.reshape(6, 9, channels);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(37 * i);
    const std::string kind = channels == 1 ? "grey" : channels == 3 ? "rgb" : "four";
    corpus.put("image", kind + ".jpeg", text_of(test::jpeg(image)));
    corpus.put("image", kind + ".png", text_of(test::png(image)));
  }
  corpus.put("image", "pgm", "P5 3 2 255\nabcdef");
  corpus.put("image", "ppm", "P6 1 2 255\nabcdef");
  std::string bmp("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x18\0\0\0\0\0\x10\0\0\0", 38);
  corpus.put("image", "bmp", bmp + std::string(16, '\0') + std::string("abcdef\0\0ghijkl\0\0", 16));
}

void write_archives(const Corpus& corpus) {
  const auto bytes = [](const std::string& text) { return test::Bytes(text.begin(), text.end()); };
  const test::Bytes pictures = test::tar({{"b.JPEG", bytes("two")}, {"a.png", bytes("one")}, {"c.txt", bytes("none")}});
  for (const auto& [name, format] : {std::pair{"ustar", test::TarFormat::ustar}, std::pair{"pax", test::TarFormat::pax},
                                     std::pair{"gnu", test::TarFormat::gnu}}) {
    const std::string longest(format == test::TarFormat::ustar ? 90 : 150, 'y');
    corpus.put("tar", name, text_of(test::tar({{longest + ".png", bytes("long")}, {"a.png", bytes("one")}}, format)));
  }
  corpus.put("tar", "nested", text_of(test::tar({{"n01440764.tar", pictures}})));
  corpus.put("mat", "two", text_of(test::mat_file({{7, "n00000001", "a, b"}, {2, "n00000002", "", 5}})));

  const Folder folder;
  const std::string path = (folder.path() / "packed").string();
  PackedWriter::Contents contents{{"a test", "dataset: test", {{0.5}, {0.25}}, {"cat", "dog"}}, 1, {2, 0, 1, 0}};
  PackedWriter writer(path, contents);
  Image image;
  for (const int side : {3, 5, 2}) {
    image.reshape(side, side + 1, 1);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(40 * side));
    writer.append(image, side % 2, crc32c(image.pixels.data(), image.pixels.size()));
  }
  writer.finish();
  corpus.put("packed", "three", content(path));
}

void write_configs(const Corpus& corpus, const fs::path& configs) {
  const std::string base =
      "train:\n  epochs: 3\n  optimizer: {name: adam, beta1: 0.9}\ndata: {dataset: cifar10, path: x}\n";
  corpus.put("config", "quickstart", joined({content(configs / "quickstart.yaml"), "", "train.epochs=1\nmodel=~"}));
  std::string augmented = content(configs / "e2_alexnet_cifar10_augmented.yaml");
  const size_t base_line = augmented.find("base:");
  augmented.replace(base_line, augmented.find('\n', base_line) - base_line, "base: base.yaml");
  corpus.put("config", "augmented", joined({augmented, base, ""}));
  corpus.put("config", "with_base",
             joined({"base: base.yaml\ntrain: {epochs: ~, schedule: {name: step}}\n", base,
                     "data.crops.scale=[1, 2]\na.b.c={d: [1, '2', \"3\"]}"}));
  corpus.put("config", "anchors",
             "a: &x\n  b: [1, 2.5e3, -0x1f, true, ~, 'it''s']\n  c: |\n    text\n    more\nd: *x\n? e\n: >-\n  folded\n"
             "f: {g: \"\\u00e9\\n\", h: }\n--- # one document\n");
}

}  // namespace
}  // namespace striate::fuzz

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: fuzz_corpus tests/fuzz/corpus tools/configs\n");
    return 2;
  }
  const striate::fuzz::Corpus corpus{argv[1]};
  striate::fuzz::write_datasets(corpus);
  striate::fuzz::write_safetensors_files(corpus);
  striate::fuzz::write_torch_files(corpus);
  striate::fuzz::write_events(corpus);
  striate::fuzz::write_images(corpus);
  striate::fuzz::write_archives(corpus);
  striate::fuzz::write_configs(corpus, argv[2]);
}
