#include "models/weights/torch_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "kernels/error.h"
#include "tests/models/weights/torch_archive.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate::models {
namespace {

using test::bytes_of;
using test::kPpmd;
using test::PickleWriter;
using test::put_file;
using test::TempDir;
using test::throws_with;
using test::wide_ppmd_stream;
using test::zip_of;
using test::ZipEntry;

std::vector<ZipEntry> archive_of(const std::string& pickle, const std::vector<std::string>& storages) {
  std::vector<ZipEntry> entries{{"net/data.pkl", pickle}, {"net/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); ++i) entries.push_back({fmt::format("net/data/{}", i), storages[i]});
  entries.push_back({"net/version", "3\n"});
  return entries;
}

/// A state dict of one tensor, a [2,3] of six floats.
std::string small_pickle() {
  return PickleWriter().begin_dict().text("w").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}).end_dict().stop();
}

const std::vector<float> kSix{1, 2, 3, 4, 5, 6};

std::vector<NamedTensor> read(const std::string& zip) {
  const TempDir dir;
  put_file(dir / "w.pth", zip);
  return TorchFile((dir / "w.pth").string()).read();
}

testing::AssertionResult refused(const std::string& zip, std::initializer_list<std::string> parts) {
  return throws_with<IoError>([&] { read(zip); }, parts);
}

testing::AssertionResult pickle_refused(const std::string& pickle, std::initializer_list<std::string> parts) {
  return refused(zip_of(archive_of(pickle, {bytes_of(kSix)})), parts);
}

TEST(TorchFile, ReadsEveryTypeOfStorage) {
  const std::string pickle = PickleWriter()
                                 .begin_dict()
                                 .text("float")
                                 .tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1})
                                 .text("double")
                                 .tensor("DoubleStorage", "1", 2, 0, {2}, {1})
                                 .text("half")
                                 .tensor("HalfStorage", "2", 6, 0, {6}, {1})
                                 .text("brain")
                                 .tensor("BFloat16Storage", "3", 2, 0, {2}, {1})
                                 .text("long")
                                 .tensor("LongStorage", "4", 1, 0, {}, {})
                                 .text("int")
                                 .tensor("IntStorage", "5", 1, 0, {1}, {1})
                                 .text("byte")
                                 .tensor("ByteStorage", "6", 3, 1, {2}, {1})
                                 .text("empty")
                                 .tensor("FloatStorage", "7", 0, 0, {0, 4}, {4, 1})
                                 .end_dict()
                                 .stop();
  // 1, −2, 65504, the smallest normal 2⁻¹⁴, the smallest subnormal 2⁻²⁴, −∞
  const std::vector<uint16_t> halves{0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0xfc00};
  const std::vector<NamedTensor> tensors =
      read(zip_of(archive_of(pickle, {bytes_of(kSix), bytes_of<double>({0.1, -1e300}), bytes_of(halves),
                                      bytes_of<uint16_t>({0x3f80, 0xc040}), bytes_of<int64_t>({-(int64_t{1} << 40)}),
                                      bytes_of<int32_t>({-7}), bytes_of<uint8_t>({9, 0, 255}), ""})));
  ASSERT_EQ(tensors.size(), 8u);
  EXPECT_EQ(tensors[0].name, "float");
  EXPECT_EQ(tensors[0].tensor.shape(), (Shape{2, 3}));
  EXPECT_EQ(tensors[0].tensor.to_vector<float>(), kSix);
  EXPECT_EQ(tensors[1].tensor.to_vector<float>(), (std::vector<float>{0.1f, -INFINITY}));
  EXPECT_EQ(tensors[2].tensor.to_vector<float>(), (std::vector<float>{1, -2, 65504, 0x1p-14f, 0x1p-24f, -INFINITY}));
  EXPECT_EQ(tensors[3].tensor.to_vector<float>(), (std::vector<float>{1, -3}));
  EXPECT_EQ(tensors[4].tensor.to_vector<int64_t>(), (std::vector<int64_t>{-(int64_t{1} << 40)}));
  EXPECT_EQ(tensors[4].tensor.shape(), Shape{});
  EXPECT_EQ(tensors[5].tensor.to_vector<int32_t>(), (std::vector<int32_t>{-7}));
  EXPECT_EQ(tensors[6].tensor.to_vector<uint8_t>(), (std::vector<uint8_t>{0, 255}));
  EXPECT_EQ(tensors[7].tensor.shape(), (Shape{0, 4}));
}

TEST(TorchFile, ReadsViewsOfOneStorage) {
  const std::string pickle = PickleWriter()
                                 .begin_dict()
                                 .text("transposed")
                                 .tensor("FloatStorage", "0", 6, 0, {3, 2}, {1, 3})
                                 .text("column")
                                 .tensor("FloatStorage", "0", 6, 1, {2, 1}, {3, 77})
                                 .text("tail")
                                 .tensor("FloatStorage", "0", 6, 4, {2}, {1})
                                 .end_dict()
                                 .stop();
  const std::vector<NamedTensor> tensors = read(zip_of(archive_of(pickle, {bytes_of(kSix)})));
  EXPECT_EQ(tensors[0].tensor.to_vector<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(tensors[1].tensor.to_vector<float>(), (std::vector<float>{2, 5}));
  EXPECT_EQ(tensors[2].tensor.to_vector<float>(), (std::vector<float>{5, 6}));
}

TEST(TorchFile, FindsTheStateDictOfACheckpointAndTakesPrefixesOff) {
  PickleWriter writer;
  writer.raw("}(").text("epoch").number(3).text("loss").raw(std::string("G") + std::string("\x3f\xe0\0\0\0\0\0\0", 8));
  writer.text("history").raw("](").number(70000).number(-1).raw("e").text("none").raw("N");
  writer.text("state_dict").begin_dict();
  writer.text("module._orig_mod.a.weight").global("torch._utils", "_rebuild_parameter").raw("(");
  writer.tensor("FloatStorage", "0", 6, 0, {6}, {1}).raw("\x88").begin_dict().end_dict().raw("tR");
  writer.text("module._orig_mod.a.bias").tensor("FloatStorage", "0", 6, 2, {1}, {1}).end_dict();
  // The dict's _metadata, as every state_dict() has it.
  writer.raw("}").text("_metadata").begin_dict().text("").raw("}").text("version").number(1).raw("s").end_dict();
  writer.raw("sbu");
  const std::vector<NamedTensor> tensors = read(zip_of(archive_of(writer.stop(), {bytes_of(kSix)})));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a.weight");
  EXPECT_EQ(tensors[0].tensor.to_vector<float>(), kSix);
  EXPECT_EQ(tensors[1].name, "a.bias");
  EXPECT_EQ(tensors[1].tensor.to_vector<float>(), (std::vector<float>{3}));
}

TEST(TorchFile, ReadsTheOpcodesOfProtocolFour) {
  std::string pickle = small_pickle();
  pickle[1] = 4;
  const std::string frame = std::string("\x95") + std::string(8, '\0');
  const std::string old_global = "ccollections\nOrderedDict\n";
  pickle.replace(2, old_global.size(),
                 frame +
                     "\x8c\x0b"
                     "collections\x94\x8c\x0bOrderedDict\x93\x94");
  const std::vector<NamedTensor> tensors = read(zip_of(archive_of(pickle, {bytes_of(kSix)})));
  EXPECT_EQ(tensors.at(0).tensor.to_vector<float>(), kSix);
}

TEST(TorchFile, NothingOfAPickleIsRun) {
  const TempDir dir;
  const std::string marker = (dir / "was_run").string();
  const auto call = [&](const std::string& module, const std::string& name) {
    return PickleWriter().global(module, name).raw("(").text("touch " + marker).raw("tR").stop();
  };
  EXPECT_TRUE(pickle_refused(call("os", "system"), {"w.pth", "os.system", "nothing was run", "state_dict()"}));
  EXPECT_TRUE(pickle_refused(call("posix", "system"), {"posix.system"}));
  EXPECT_TRUE(pickle_refused(call("builtins", "eval"), {"builtins.eval"}));
  EXPECT_TRUE(pickle_refused(call("torch", "load"), {"torch.load"}));
  EXPECT_TRUE(pickle_refused(call("numpy.core.multiarray", "scalar"), {"numpy.core.multiarray.scalar"}));
  // Names of torch's, called as they are not meant to be.
  EXPECT_TRUE(pickle_refused(call("torch", "FloatStorage"), {"calls torch.FloatStorage"}));
  EXPECT_TRUE(pickle_refused(call("collections", "OrderedDict"), {"OrderedDict made of arguments"}));
  // Behind a good state dict, as an attribute, by another opcode, with a name that would spoil the terminal.
  const std::string good = small_pickle();
  EXPECT_TRUE(pickle_refused(good.substr(0, good.size() - 1) + call("os", "system").substr(2), {"os.system"}));
  EXPECT_TRUE(pickle_refused(PickleWriter().raw("(").text(marker).raw("ios\nsystem\n").stop(), {"opcode 0x69"}));
  EXPECT_TRUE(pickle_refused(PickleWriter().text("os").text("system").raw("\x93").stop(), {"os.system"}));
  EXPECT_TRUE(pickle_refused(call("o\x1b[2Js", std::string(500, 's')), {"o?[2Js.sss", "…"}));
  EXPECT_FALSE(std::filesystem::exists(marker));
}

TEST(TorchFile, RefusesViewsThatLieOutsideTheirStorage) {
  const auto one = [](int64_t elements, int64_t offset, const Shape& shape, const Shape& strides) {
    return PickleWriter().begin_dict().text("w").tensor("FloatStorage", "0", elements, offset, shape, strides);
  };
  const auto lie = [&](int64_t elements, int64_t offset, const Shape& shape, const Shape& strides) {
    return pickle_refused(one(elements, offset, shape, strides).end_dict().stop(), {"w.pth", "in a storage of"});
  };
  EXPECT_TRUE(lie(6, 0, {7}, {1}));
  EXPECT_TRUE(lie(6, 1, {6}, {1}));
  EXPECT_TRUE(lie(6, 0, {2, 3}, {4, 1}));
  EXPECT_TRUE(lie(6, -1, {2}, {1}));
  EXPECT_TRUE(lie(6, 7, {0}, {1}));
  EXPECT_TRUE(lie(6, 0, {int64_t{1} << 40}, {0}));
  EXPECT_TRUE(lie(6, 0, {int64_t{1} << 40, int64_t{1} << 40}, {0, 0}));
  EXPECT_TRUE(lie(6, 0, {2}, {INT64_MAX}));
  EXPECT_TRUE(pickle_refused(one(6, 0, {-1}, {1}).end_dict().stop(), {"size with -1"}));
  EXPECT_TRUE(pickle_refused(one(6, 0, {2}, {-1}).end_dict().stop(), {"strides with -1"}));
  EXPECT_TRUE(pickle_refused(one(6, 0, {2, 3}, {1}).end_dict().stop(), {"[2,3] with strides [1]"}));
  // The storage itself is not what the pickle says.
  EXPECT_TRUE(pickle_refused(one(5, 0, {5}, {1}).end_dict().stop(), {"'w'", "5 values of float32", "24 bytes"}));
  EXPECT_TRUE(pickle_refused(one(INT64_MAX, 0, {6}, {1}).end_dict().stop(), {"'w'", "24 bytes"}));
  EXPECT_TRUE(pickle_refused(one(-6, 0, {0}, {1}).end_dict().stop(), {"storage of -6 values"}));
}

TEST(TorchFile, RefusesManyCopiesOfOneStorage) {
  PickleWriter writer;
  writer.begin_dict();
  for (int i = 0; i < 1000; ++i) {
    writer.text(fmt::format("w{}", i)).tensor("FloatStorage", "0", 100'000, 0, {100'000}, {1});
  }
  const std::string values(400'000, '\0');
  EXPECT_TRUE(refused(zip_of(archive_of(writer.end_dict().stop(), {values})), {"share storages", "bytes out of"}));
}

TEST(TorchFile, RefusesWhatIsNoStateDict) {
  EXPECT_TRUE(pickle_refused(PickleWriter().number(3).stop(), {"holds no state dict"}));
  EXPECT_TRUE(pickle_refused(PickleWriter().raw("}").text("a").number(1).raw("s").stop(), {"holds no state dict"}));
  PickleWriter twice;
  twice.begin_dict();
  for (int i = 0; i < 2; ++i) twice.text("w").tensor("FloatStorage", "0", 6, 0, {6}, {1});
  EXPECT_TRUE(pickle_refused(twice.end_dict().stop(), {"'w' stands twice"}));
  PickleWriter mixed;
  mixed.begin_dict().text("w").tensor("FloatStorage", "0", 6, 0, {6}, {1}).text("x").number(1).end_dict();
  EXPECT_TRUE(pickle_refused(mixed.stop(), {"'x' of the state dict is no tensor"}));
}

TEST(TorchFile, EveryCutPickleIsAnError) {
  const std::string pickle = small_pickle();
  EXPECT_EQ(read_state_dict(pickle, "w.pth").size(), 1u);
  for (size_t length = 0; length < pickle.size(); ++length) {
    EXPECT_TRUE(throws_with<IoError>([&] { read_state_dict(pickle.substr(0, length), "w.pth"); }, {"w.pth"})) << length;
  }
  // A byte changed anywhere gives an error or a tensor, never more.
  int errors = 0;
  for (size_t at = 0; at < pickle.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string changed = pickle;
      changed[at] = static_cast<char>(changed[at] ^ change);
      try {
        EXPECT_LE(read_state_dict(changed, "w.pth").size(), 1u);
      } catch (const IoError&) {
        ++errors;
      }
    }
  }
  EXPECT_GT(errors, 1000);
}

TEST(TorchFile, RefusesDamagedArchives) {
  const std::string good = zip_of(archive_of(small_pickle(), {bytes_of(kSix)}));
  EXPECT_EQ(read(good).size(), 1u);
  for (const size_t length : {good.size() - 1, good.size() - 22, good.size() / 2, size_t{4}, size_t{0}}) {
    EXPECT_TRUE(refused(good.substr(0, length), {"w.pth"})) << length;
  }
  std::string changed = good;
  changed[good.find(bytes_of(kSix))] ^= 1;
  EXPECT_TRUE(refused(changed, {"net/data/0"}));  // its checksum
  EXPECT_TRUE(refused(zip_of({{"net/other", "x"}}), {"without data.pkl"}));
  EXPECT_TRUE(refused(zip_of(archive_of(small_pickle(), {})), {"has no net/data/0, the values of 'w'"}));
  std::vector<ZipEntry> twice = archive_of(small_pickle(), {bytes_of(kSix)});
  twice.push_back({"other/data.pkl", small_pickle()});
  EXPECT_TRUE(refused(zip_of(twice), {"more than one data.pkl"}));
  std::vector<ZipEntry> big = archive_of(small_pickle(), {bytes_of(kSix)});
  big[1].bytes = "big";
  EXPECT_TRUE(refused(zip_of(big), {"other byte order"}));
}

TEST(TorchFile, RefusesSizesThatTheFileCannotHold) {
  const std::string pickle = PickleWriter()
                                 .begin_dict()
                                 .text("w")
                                 .tensor("FloatStorage", "0", int64_t{1} << 38, 0, {6}, {1})
                                 .end_dict()
                                 .stop();
  std::vector<ZipEntry> absurd = archive_of(pickle, {bytes_of(kSix)});
  absurd[2].claimed_size = uint64_t{1} << 40;
  EXPECT_TRUE(refused(zip_of(absurd), {"net/data/0", "1099511627776 bytes"}));
  // Ten bytes of a deflated stream that would become very many.
  absurd[2].method = 8;
  absurd[2].bytes = std::string("\x03") + std::string(9, '\0');
  EXPECT_TRUE(refused(zip_of(absurd), {"net/data/0", "is compressed", "deflation", "uncompressed"}));
  // A stream's model of 256 MB, whatever the size of its entry.
  std::vector<ZipEntry> modelled = archive_of(small_pickle(), {wide_ppmd_stream()});
  modelled[2].claimed_size = kSix.size() * sizeof(kSix[0]);
  modelled[2].method = kPpmd;
  EXPECT_TRUE(refused(zip_of(modelled), {"net/data/0", "is compressed", "ppmd-1", "uncompressed"}));
  // More than the pickle's own limit.
  EXPECT_TRUE(refused(zip_of(archive_of(small_pickle() + std::string(5 << 20, 'N'), {bytes_of(kSix)})),
                      {"more than any state dict needs"}));
}

TEST(TorchFile, TheOldFormatsAreRefusedWithTheWayToConvertThem) {
  const TempDir dir;
  const std::string path = (dir / "old.pth").string();
  put_file(path, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.");
  EXPECT_TRUE(throws_with<IoError>([&] { is_torch_file(path); },
                                   {"old.pth", "before 1.6", "torch.save(torch.load(", "weights_only=True"}));
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  put_file(path, tar);
  EXPECT_TRUE(throws_with<IoError>([&] { is_torch_file(path); }, {"before 1.6"}));
  put_file(path, zip_of(archive_of(small_pickle(), {bytes_of(kSix)})));
  EXPECT_TRUE(is_torch_file(path));
  put_file(path, std::string(300, 'x'));
  EXPECT_FALSE(is_torch_file(path));
  EXPECT_TRUE(throws_with<IoError>([&] { is_torch_file((dir / "absent.pth").string()); }, {"absent.pth"}));
}

}  // namespace
}  // namespace striate::models
