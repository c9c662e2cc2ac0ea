#include "engine/train/safetensors.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/nn/layers.h"
#include "engine/train/atomic_file.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string raw_file(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  return bytes + header + std::string(data_bytes, '\1');
}

int files_in(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Safetensors, RoundTrip) {
  const TempDir dir;
  const std::string path = dir / "a.safetensors";
  const std::vector<NamedTensor> tensors = {{"f", Tensor::from<float>({1.5f, -2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, {2, 3})},
                                            {"bytes \"ü\"", Tensor::from<uint8_t>({1, 2, 255}, {3})},
                                            {"empty", Tensor::empty({0, 4})},
                                            {"scalar", Tensor::from<int32_t>({-7}, {})},
                                            {"long", Tensor::from<int64_t>({1LL << 40}, {1})}};
  write_safetensors(path, tensors, {{"model", "lenet"}, {"note", "line\n\"quoted\""}});
  const Safetensors back = read_safetensors(path);
  ASSERT_EQ(back.tensors.size(), 5u);
  EXPECT_EQ(back.metadata, (Metadata{{"model", "lenet"}, {"note", "line\n\"quoted\""}}));
  EXPECT_EQ(back.text("model"), "lenet");
  EXPECT_EQ(back.text("absent"), "");
  EXPECT_EQ(back.find("f")->to_vector<float>(), tensors[0].tensor.to_vector<float>());
  EXPECT_EQ(back.find("f")->shape(), (Shape{2, 3}));
  EXPECT_EQ(back.find("bytes \"ü\"")->to_vector<uint8_t>(), (std::vector<uint8_t>{1, 2, 255}));
  EXPECT_EQ(back.find("empty")->shape(), (Shape{0, 4}));
  EXPECT_EQ(back.find("scalar")->to_vector<int32_t>(), std::vector<int32_t>{-7});
  EXPECT_EQ(back.find("long")->to_vector<int64_t>(), std::vector<int64_t>{1LL << 40});
  EXPECT_EQ(back.find("absent"), nullptr);
  EXPECT_EQ(read_safetensors_metadata(path), back.metadata);
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(Safetensors, ReadsTheFormatsOwnExample) {
  const TempDir dir;
  put(dir / "a",
      raw_file(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},)"
               R"("a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}   )",
               6));
  const Safetensors file = read_safetensors(dir / "a");
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].name, "a");
  EXPECT_EQ(file.find("b")->to_vector<uint8_t>(), (std::vector<uint8_t>{1, 1}));
}

TEST(Safetensors, ReadsOtherFloatsAsFloat32) {
  const TempDir dir;
  const std::string header = R"({"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
                             R"("h":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},)"
                             R"("b":{"dtype":"BF16","shape":[1,1],"data_offsets":[14,16]},)"
                             R"("none":{"dtype":"F16","shape":[0],"data_offsets":[16,16]}})";
  const double d = -0.1;
  const uint16_t halves[] = {0x3c00, 0xfbff, 0x0001, 0xc040};  // 1, −65504, 2⁻²⁴; −3 as bfloat16
  std::string bytes = raw_file(header, 0);
  bytes.append(reinterpret_cast<const char*>(&d), sizeof d);
  bytes.append(reinterpret_cast<const char*>(halves), sizeof halves);
  put(dir / "a", bytes);
  const Safetensors file = read_safetensors(dir / "a");
  EXPECT_EQ(file.find("d")->to_vector<float>(), std::vector<float>{-0.1f});
  EXPECT_EQ(file.find("h")->to_vector<float>(), (std::vector<float>{1.0f, -65504.0f, 0x1p-24f}));
  EXPECT_EQ(file.find("b")->to_vector<float>(), std::vector<float>{-3.0f});
  EXPECT_EQ(file.find("none")->dtype(), DType::float32);
}

struct Lie {
  const char* name;
  std::string file;
  const char* message;  // must be part of what is said

  friend void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.name; }
};

const auto lie_name = [](const auto& info) { return std::string(info.param.name); };

class LyingHeader : public testing::TestWithParam<Lie> {};

TEST_P(LyingHeader, IsAnErrorThatNamesIt) {
  const TempDir dir;
  put(dir / "lie.safetensors", GetParam().file);
  try {
    read_safetensors(dir / "lie.safetensors");
    FAIL() << "was read";
  } catch (const IoError& e) {
    const std::string said = e.what();
    EXPECT_NE(said.find("lie.safetensors"), std::string::npos) << said;
    EXPECT_NE(said.find(GetParam().message), std::string::npos) << said;
  }
}

std::string one(const std::string& fields, size_t data_bytes = 8) {
  return raw_file(R"({"w":{)" + fields + "}}", data_bytes);
}

INSTANTIATE_TEST_SUITE_P(
    , LyingHeader,
    testing::Values(
        Lie{"empty_file", "", "too short"}, Lie{"seven_bytes", "1234567", "too short"},
        Lie{"length_beyond_file", std::string("\x40\0\0\0\0\0\0\0{}", 10), "claims 64 bytes of a file of 10"},
        Lie{"length_of_2_to_63", std::string("\0\0\0\0\0\0\0\x80{}", 10), "claims 9223372036854775808"},
        Lie{"length_all_ones", std::string(8, '\xff') + "{}", "claims"},
        Lie{"not_json", raw_file("{\"w\": ", 0), "not JSON"}, Lie{"a_list", raw_file("[]", 0), "not a JSON object"},
        Lie{"twice",
            raw_file(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                     R"("w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                     8),
            "'w' appears twice"},
        Lie{"shape_twice", one(R"("dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4])", 4), "'shape' appears"},
        Lie{"no_dtype", one(R"("shape":[2],"data_offsets":[0,8])"), "tensor 'w'"},
        Lie{"unknown_dtype", one(R"("dtype":"C64","shape":[1],"data_offsets":[0,8])"), "\"C64\", expected F32"},
        Lie{"dtype_is_a_number", one(R"("dtype":4,"shape":[1],"data_offsets":[0,8])"), "dtype 4"},
        Lie{"negative_size", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "something else than sizes"},
        Lie{"fractional_size", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "something else than sizes"},
        Lie{"overflowing_shape", one(R"("dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8])"),
            "absurd"},
        Lie{"huge_size", one(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8])"), "sizes"},
        Lie{"bytes_not_the_shape", one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), "takes 12 bytes"},
        Lie{"end_before_begin", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "data_offsets [8, 0]"},
        Lie{"three_offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), "not two numbers"},
        Lie{"beyond_the_end", one(R"("dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000])"), "cut off"},
        Lie{"truncated", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 7), "cut off"},
        Lie{"more_than_claimed", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 9), "the file has 9"},
        Lie{"overlap",
            raw_file(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                     R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                     8),
            "overlap"},
        Lie{"gap",
            raw_file(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                     R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                     8),
            "leave a gap"},
        Lie{"metadata_number", raw_file(R"({"__metadata__":{"epoch":3}})", 0), "metadata 'epoch'"}),
    lie_name);

TEST(Safetensors, MissingFileAndFolder) {
  const TempDir dir;
  EXPECT_THROW(read_safetensors(dir / "absent"), IoError);
  EXPECT_THROW(read_safetensors(dir.path()), IoError);
  EXPECT_THROW(write_safetensors(dir / "absent/w.safetensors", {}, {}), IoError);
}

// Files of this process may not grow beyond `bytes`, and the kernel says so by an error instead of a signal.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    previous_signal_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit limit{bytes, previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    ::signal(SIGXFSZ, previous_signal_);
  }

 private:
  rlimit previous_{};
  void (*previous_signal_)(int) = nullptr;
};

TEST(AtomicFile, FailedWriteLeavesTheOldFile) {
  const TempDir dir;
  const std::string path = dir / "w.safetensors";
  write_safetensors(path, {{"w", Tensor::full({100}, 1.0f)}}, {});
  const std::string before = content(path);
  {
    const FileSizeLimit limit(1000);  // a short write first, then an error
    EXPECT_THROW(write_safetensors(path, {{"w", Tensor::full({1000}, 2.0f)}}, {}), IoError);
  }
  EXPECT_EQ(content(path), before);
  EXPECT_EQ(files_in(dir.path()), 1);  // nothing half-written left
  write_safetensors(path, {{"w", Tensor::full({1000}, 2.0f)}}, {});
  EXPECT_EQ(read_safetensors(path).find("w")->dim(0), 1000);
}

TEST(AtomicFile, FullDiskLeavesTheOldFile) {
  const TempDir dir;
  const std::string path = dir / "note";
  write_file_atomically(path, "old");
  fs::create_symlink("/dev/full", path + ".partial");  // every write: no space left on device
  try {
    write_file_atomically(path, "new");
    FAIL() << "was written";
  } catch (const IoError& e) {
    EXPECT_NE(std::string(e.what()).find("No space left on device"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
  }
  EXPECT_EQ(content(path), "old");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(AtomicFile, NothingIsThereBeforeCommit) {
  const TempDir dir;
  const std::string path = dir / "note";
  {
    AtomicFile file(path);
    file.write("half");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(files_in(dir.path()), 0);
  put(path + ".partial", "a leftover of a killed process, longer than what follows");
  write_file_atomically(path, "whole");
  EXPECT_EQ(content(path), "whole");
  EXPECT_EQ(files_in(dir.path()), 1);
}

std::shared_ptr<nn::Sequential> small_network(int64_t hidden) {
  return std::make_shared<nn::Sequential>(
      std::vector<nn::ModulePtr>{std::make_shared<nn::Conv2d>(1, 2, 3), std::make_shared<nn::BatchNorm2d>(2),
                                 std::make_shared<nn::Flatten>(), std::make_shared<nn::Linear>(8, hidden)});
}

TEST(Weights, RoundTripWithBuffers) {
  const TempDir dir;
  const std::string path = dir / "w.safetensors";
  const auto one = small_network(3), other = small_network(3);
  float value = 0.0f;
  for (NamedTensor& t : named_weights(*one)) t.tensor.fill(value += 1.0f);
  save_weights(path, *one, {{"model", "tiny"}});
  const Metadata metadata = load_weights(path, *other);
  EXPECT_EQ(metadata.at("model"), "tiny");
  EXPECT_EQ(metadata.at("striate_layout"), "NHWC");
  const auto expected = named_weights(*one), found = named_weights(*other);
  ASSERT_EQ(found.size(), 8u);  // conv and linear: weight, bias; batch norm: weight, bias, two buffers
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].tensor.to_vector<float>(), expected[i].tensor.to_vector<float>()) << found[i].name;
  }
}

TEST(Weights, AnotherModelListsEverythingAtOnce) {
  const TempDir dir;
  const std::string path = dir / "w.safetensors";
  const auto network = small_network(3);
  std::vector<NamedTensor> tensors = named_weights(*small_network(5));
  tensors.erase(tensors.begin());  // 0.weight
  tensors.push_back({"4.weight", Tensor::zeros({7})});
  write_safetensors(path, tensors, {{"striate_layout", "NHWC"}, {"model", "lenet"}});
  try {
    load_weights(path, *network);
    FAIL() << "was loaded";
  } catch (const ConfigError& e) {
    const std::string said = e.what();
    for (const char* part : {"another model (lenet)", "missing: 0.weight, expected float32 [2,3,3,1]",
                             "3.weight: expected float32 [3,8], found float32 [5,8]",
                             "3.bias: expected float32 [3], found float32 [5]", "unexpected: 4.weight, float32 [7]"}) {
      EXPECT_NE(said.find(part), std::string::npos) << part << "\nin: " << said;
    }
  }
  for (const NamedTensor& t : network->named_parameters()) {
    if (t.name == "0.bias") {
      EXPECT_EQ(t.tensor.to_vector<float>(), (std::vector<float>{0, 0}));
    }
  }
}

TEST(Weights, ForeignLayoutIsRefused) {
  const TempDir dir;
  const auto network = small_network(3);
  write_safetensors(dir / "w", named_weights(*network), {{"format", "pt"}});
  try {
    load_weights(dir / "w", *network);
    FAIL() << "was loaded";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("PyTorch"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace striate
