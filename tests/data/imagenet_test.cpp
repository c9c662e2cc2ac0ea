#include "data/datasets/imagenet/imagenet.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "data/open.h"
#include "kernels/error.h"
#include "tests/data/archive_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::Bytes;
using test::tar;
using test::TarEntry;
using test::TempDir;
using test::write_bytes;
using test::write_text;
using Names = std::vector<std::string>;

/// A picture that tells by its height which it is.
Bytes picture(int height) { return test::png(test::formula_picture(height, 4, 3)); }

std::string val_name(int number) { return fmt::format("ILSVRC2012_val_{:08}.JPEG", number); }

struct Seen {
  std::string name;  // the file's
  int label, height;
  bool operator==(const Seen&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << seen.name << " label " << seen.label << " height " << seen.height;
}

std::vector<Seen> all(const std::shared_ptr<const Dataset>& dataset) {
  std::vector<Seen> seen;
  for (int64_t i = 0; dataset != nullptr && i < dataset->size(); ++i) {
    const std::string place = dataset->describe(i);
    seen.push_back({place.substr(place.find_last_of("/ ") + 1), dataset->label(i), dataset->load(i).height});
  }
  return seen;
}

/// Three classes with 2, 1 and 2 training pictures, and 5 validation pictures. The kit's numbers are in another order
/// than the ids, as ImageNet's are, and its last synset is a group.
class ImagenetTest : public testing::Test {
 protected:
  ImagenetTest() { ::setenv("XDG_CACHE_HOME", (dir_ / "cache").c_str(), 1); }
  ~ImagenetTest() override { ::unsetenv("XDG_CACHE_HOME"); }

  const std::vector<std::pair<std::string, std::vector<TarEntry>>> classes_ = {
      {"n15075141", {{"n15075141_7.JPEG", picture(15)}, {"n15075141_30.JPEG", picture(14)}}},
      {"n01440764", {{"n01440764_2.JPEG", picture(12)}, {"n01440764_10.JPEG", picture(11)}}},
      {"n02111889", {{"n02111889_1.JPEG", picture(13)}}}};
  const std::vector<Seen> train_ = {{"n01440764_10.JPEG", 0, 11},
                                    {"n01440764_2.JPEG", 0, 12},
                                    {"n02111889_1.JPEG", 1, 13},
                                    {"n15075141_30.JPEG", 2, 14},
                                    {"n15075141_7.JPEG", 2, 15}};
  const std::vector<Seen> val_ = {
      {val_name(1), 2, 21}, {val_name(2), 0, 22}, {val_name(3), 1, 23}, {val_name(4), 1, 24}, {val_name(5), 0, 25}};
  const std::vector<test::Synset> synsets_ = {{1, "n02111889", "Samoyed, Samoyede"},
                                              {2, "n15075141", "toilet tissue, toilet paper"},
                                              {3, "n01440764", "tench, Tinca tinca"},
                                              {4, "n00001740", "entity", 3}};
  const std::string truth_ = "2\n3\n1\n1\n3\n";

  fs::path path() const { return dir_.path(); }
  fs::path train_tar() const { return dir_ / "ILSVRC2012_img_train.tar"; }
  fs::path val_tar() const { return dir_ / "ILSVRC2012_img_val.tar"; }
  fs::path kit() const { return dir_ / "ILSVRC2012_devkit_t12.tar.gz"; }

  void write_train_tar() const {
    std::vector<TarEntry> tars;
    for (const auto& [id, pictures] : classes_) tars.push_back({id + ".tar", tar(pictures)});
    write_bytes(train_tar(), tar(tars));
  }
  void write_train_folders() const {
    for (const auto& [id, pictures] : classes_) {
      for (const TarEntry& entry : pictures) write_bytes(dir_ / ("train/" + id + "/" + entry.name), entry.bytes);
    }
  }
  std::vector<TarEntry> val_pictures() const {
    std::vector<TarEntry> pictures;
    for (const int number : {4, 1, 5, 2, 3}) pictures.push_back({val_name(number), picture(20 + number)});
    return pictures;
  }
  void write_val_tar() const { write_bytes(val_tar(), tar(val_pictures())); }
  void write_val_flat() const {
    for (const TarEntry& entry : val_pictures()) write_bytes(dir_ / ("val/" + entry.name), entry.bytes);
  }
  void write_val_folders() const {
    const char* ids[] = {"n01440764", "n02111889", "n15075141"};
    for (size_t i = 0; i < val_.size(); ++i) {
      write_bytes(dir_ / fmt::format("val/{}/{}", ids[val_[i].label], val_[i].name), picture(val_[i].height));
    }
  }
  void write_kit(const Bytes& meta, const std::string& truth) const {
    const std::string data = "ILSVRC2012_devkit_t12/data/";
    write_bytes(kit(),
                test::gzipped(tar({{data, {}, TarEntry::Kind::folder},
                                   {data + "ILSVRC2012_validation_ground_truth.txt", Bytes(truth.begin(), truth.end())},
                                   {"ILSVRC2012_devkit_t12/readme.txt", Bytes(2000, 'x')},
                                   {data + "meta.mat", meta}})));
  }
  void write_kit() const { write_kit(test::mat_file(synsets_), truth_); }

  DatasetParts open() {
    told_.clear();
    return open_imagenet(path(), [this](const std::string& line) { told_.push_back(line); });
  }
  testing::AssertionResult refused(std::initializer_list<std::string> parts) {
    return test::throws_with<IoError>([&] { open(); }, parts);
  }

  TempDir dir_;
  std::vector<std::string> told_;
};

TEST_F(ImagenetTest, TarsGiveSortedClassesAndTheKitsLabels) {
  write_train_tar();
  write_val_tar();
  write_kit();
  const DatasetParts parts = open();
  EXPECT_EQ(told_.size(), 4u) << "two tars are indexed";
  EXPECT_EQ(parts.train->class_names(), (Names{"tench", "Samoyed", "toilet tissue"}));
  EXPECT_EQ(parts.test->class_names(), parts.train->class_names());
  EXPECT_EQ(parts.train->channels(), 3);
  EXPECT_EQ(all(parts.train), train_);
  EXPECT_EQ(all(parts.test), val_);
  EXPECT_EQ(parts.train->describe(2), train_tar().string() + ": n02111889/n02111889_1.JPEG");
  EXPECT_EQ(parts.test->describe(0), val_tar().string() + ": " + val_name(1));
  open();
  EXPECT_TRUE(told_.empty()) << told_[0];
}

TEST_F(ImagenetTest, FoldersGiveTheSameDataset) {
  write_train_folders();
  write_val_folders();
  DatasetParts parts = open();
  EXPECT_EQ(parts.train->class_names(), (Names{"tench", "Samoyed", "toilet tissue"}));
  EXPECT_EQ(all(parts.train), train_);
  auto by_class = val_;
  std::stable_sort(by_class.begin(), by_class.end(), [](const Seen& a, const Seen& b) { return a.label < b.label; });
  EXPECT_EQ(all(parts.test), by_class);
  // The validation pictures in one folder, beside the kit as it was extracted.
  fs::remove_all(dir_ / "val");
  write_val_flat();
  EXPECT_TRUE(refused({"val", "ILSVRC2012_devkit_t12.tar.gz", "fetch it", "image-net.org"}));
  write_bytes(dir_ / "ILSVRC2012_devkit_t12/data/meta.mat", test::mat_file(synsets_));
  write_text(dir_ / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", "2\r\n3\r\n1\r\n1\r\n3");
  parts = open();
  EXPECT_EQ(all(parts.train), train_);
  EXPECT_EQ(all(parts.test), val_);
}

TEST_F(ImagenetTest, PartsMayBeMissing) {
  write_train_tar();
  DatasetParts parts = open();
  EXPECT_EQ(all(parts.train), train_);
  EXPECT_EQ(parts.test, nullptr);
  fs::remove(train_tar());
  EXPECT_TRUE(refused({path().string(), "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "image-net.org"}));
  write_val_tar();
  EXPECT_TRUE(refused({"ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz", "fetch it"}));
  write_kit();
  parts = open();
  EXPECT_EQ(parts.train, nullptr);
  EXPECT_EQ(all(parts.test), val_);
  EXPECT_EQ(parts.test->class_names(), (Names{"tench", "Samoyed", "toilet tissue"}));
  fs::remove(val_tar());
  write_val_folders();
  EXPECT_EQ(open().test->class_names(), (Names{"tench", "Samoyed", "toilet tissue"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_imagenet("", {}); }, {"data.path"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_imagenet(path() / "none", {}); }, {"none", "no such folder"}));
}

TEST_F(ImagenetTest, ValidationPicturesOfOtherClassesThanTrainingsAreLeftOut) {
  write_train_folders();
  fs::remove_all(dir_ / "train/n02111889");
  write_val_tar();
  write_kit();
  DatasetParts parts = open();
  const std::vector<Seen> rest = {{val_name(1), 1, 21}, {val_name(2), 0, 22}, {val_name(5), 0, 25}};
  EXPECT_EQ(all(parts.test), rest);
  ASSERT_EQ(told_.size(), 3u);
  EXPECT_NE(told_[2].find("3 of 5 pictures"), std::string::npos) << told_[2];
  fs::remove(val_tar());
  write_val_folders();
  parts = open();
  EXPECT_EQ(parts.test->size(), 3);
  EXPECT_EQ(told_.size(), 1u);
  // The other way round there would be nothing to measure a class with.
  fs::remove_all(dir_ / "val/n15075141");
  EXPECT_TRUE(refused({"n15075141", "no folder"}));
  fs::remove_all(dir_ / "train");
  write_bytes(dir_ / "train/n02012849/a.png", picture(4));
  fs::remove_all(dir_ / "val");
  write_val_tar();
  EXPECT_TRUE(refused({"none of its pictures", "1 classes"}));
}

TEST_F(ImagenetTest, ATrainingTarOfAnotherKindIsRefused) {
  write_bytes(train_tar(), tar({{"n01440764_2.JPEG", picture(4)}}));
  EXPECT_TRUE(refused({"ILSVRC2012_img_train.tar", "no tar with pictures"}));
  write_bytes(train_tar(), tar({{"tench.tar", tar({{"a.JPEG", picture(4)}})}}));
  EXPECT_TRUE(refused({"ILSVRC2012_img_train.tar", "tench.tar", "n01440764.tar"}));
  write_bytes(train_tar(), tar({{"n01440764.tar", tar({{"a.JPEG", picture(4)}})}, {"n02111889.tar", tar({})}}));
  EXPECT_TRUE(refused({"n02111889.tar", "no picture"}));
  // Cut short, as a download that broke off.
  write_train_tar();
  fs::remove(train_tar().string() + ".index");
  fs::resize_file(train_tar(), fs::file_size(train_tar()) / 2);
  EXPECT_TRUE(refused({"ILSVRC2012_img_train.tar", "cut short", "fetch the file again"}));
  EXPECT_FALSE(fs::exists(train_tar().string() + ".index"));
  fs::remove(train_tar());
  fs::create_directories(dir_ / "train");
  EXPECT_TRUE(refused({"train", "no class folders"}));
}

TEST_F(ImagenetTest, AValidationPartThatDoesNotFitItsLabelsIsRefused) {
  write_kit();
  auto pictures = val_pictures();
  pictures.pop_back();
  write_bytes(val_tar(), tar(pictures));
  EXPECT_TRUE(refused({"ILSVRC2012_img_val.tar", "4 pictures", "labels 5"}));
  pictures.push_back({val_name(6), picture(4)});
  write_bytes(val_tar(), tar(pictures));
  EXPECT_TRUE(refused({val_name(6), "to " + val_name(5)}));
  pictures.back().name = "ILSVRC2012_val_00000001.png";
  write_bytes(val_tar(), tar(pictures));
  EXPECT_TRUE(refused({"00000001", "twice"}));
  pictures.back().name = "ILSVRC2012_test_00000003.JPEG";
  write_bytes(val_tar(), tar(pictures));
  EXPECT_TRUE(refused({"ILSVRC2012_test_00000003.JPEG", "expected a name from"}));
  fs::remove(val_tar());
  fs::create_directories(dir_ / "val");
  EXPECT_TRUE(refused({"val", "no picture"}));
}

TEST_F(ImagenetTest, AKitThatIsDamagedIsRefused) {
  write_val_tar();
  const Bytes meta = test::mat_file(synsets_);
  write_kit(meta, "2\n3\n1\n1\n");
  EXPECT_TRUE(refused({"5 pictures", "labels 4"}));
  for (const auto& [line, text] :
       {std::pair{"4", "4"}, std::pair{"0", "0"}, std::pair{"x", "x"}, std::pair{"-1", "-1"}, std::pair{"1 2", "1 2"},
        std::pair{"", ""}, std::pair{"99999999999999999999", "999"}}) {
    write_kit(meta, fmt::format("2\n3\n{}\n1\n3\n", line));
    EXPECT_TRUE(refused({"ground_truth.txt, line 3", fmt::format("found '{}", text)})) << line;
  }
  write_kit(meta, "");
  EXPECT_TRUE(refused({"ILSVRC2012_devkit_t12.tar.gz", "no ILSVRC2012_validation_ground_truth.txt"}));
  write_kit({}, truth_);
  EXPECT_TRUE(refused({"ILSVRC2012_devkit_t12.tar.gz", "no meta.mat"}));
  write_kit(Bytes(meta.begin(), meta.begin() + 1000), truth_);
  EXPECT_TRUE(refused({"meta.mat", "damaged"}));
  auto synsets = synsets_;
  synsets[1].id = 1;
  write_kit(test::mat_file(synsets), truth_);
  EXPECT_TRUE(refused({"meta.mat", "n15075141", "twice"}));
  synsets[1].id = 1e9;
  write_kit(test::mat_file(synsets), truth_);
  EXPECT_TRUE(refused({"meta.mat", "class 2"}));
  synsets[1] = {2, "toilet", "toilet tissue"};
  write_kit(test::mat_file(synsets), truth_);
  EXPECT_TRUE(refused({"meta.mat", "'toilet'"}));
  write_text(kit(), "<html>log in first</html>");
  EXPECT_TRUE(refused({"ILSVRC2012_devkit_t12.tar.gz", "not a tar.gz"}));
  write_kit();
  const auto size = fs::file_size(kit());
  for (const auto part : {size / 2, size - 20}) {
    write_kit();
    fs::resize_file(kit(), part);
    EXPECT_TRUE(refused({"ILSVRC2012_devkit_t12.tar.gz"})) << part;
  }
  // 70 MB of zeros in front of what is wanted, as a bomb would have it.
  write_bytes(kit(), test::gzipped(tar({{"zeros", Bytes(size_t{70} << 20)}, {"meta.mat", meta}})));
  EXPECT_TRUE(refused({"ILSVRC2012_devkit_t12.tar.gz", "unpacks to more than"}));
}

TEST_F(ImagenetTest, BrokenPicturesAreNamedOrLeftOut) {
  Bytes cut = picture(9);
  cut.resize(cut.size() / 2);
  write_bytes(train_tar(),
              tar({{"n01440764.tar", tar({{"good.JPEG", picture(8)}, {"empty.JPEG", {}}, {"cut.JPEG", cut}})}}));
  const DatasetParts parts = open();
  ASSERT_EQ(parts.train->size(), 3);
  EXPECT_TRUE(test::throws_with<IoError>([&] { parts.train->load(1); },
                                         {train_tar().string() + ": n01440764/empty.JPEG", "0 bytes"}));
  DataConfig config;
  config.dataset = "imagenet";
  config.path = path().string();
  config.height = config.width = 8;
  config.skip_broken = true;
  OpenOptions options;
  std::vector<std::string> broken;
  options.on_broken = [&](const std::string& line) { broken.push_back(line); };
  const Data data = open_data(config, options);
  data.train->start(0);
  Batch batch;
  ASSERT_TRUE(data.train->next(batch));
  EXPECT_EQ(batch.places.size(), 1u);
  EXPECT_FALSE(data.train->next(batch));
  EXPECT_EQ(broken.size(), 2u);
}

TEST_F(ImagenetTest, ATarThatChangesUnderneathIsAnError) {
  write_train_tar();
  const DatasetParts parts = open();
  fs::resize_file(train_tar(), 600);
  EXPECT_TRUE(test::throws_with<IoError>([&] { parts.train->load(4); }, {train_tar().string(), "ends there"}));
}

TEST_F(ImagenetTest, OpensAsADatasetWithOrWithoutTraining) {
  write_train_tar();
  write_val_tar();
  write_kit();
  DataConfig config;
  config.dataset = "imagenet";
  config.path = path().string();
  config.height = config.width = 8;
  config.workers = 1;
  OpenOptions options;
  options.batch_size = 2;
  Data data = open_data(config, options);
  EXPECT_EQ(data.class_names, (Names{"tench", "Samoyed", "toilet tissue"}));
  EXPECT_EQ(data.train->samples(), 5);
  EXPECT_EQ(data.normalization.mean, published_normalization("imagenet").mean);
  Batch batch;
  data.train->start(0);
  int64_t images = 0;
  while (data.train->next(batch)) images += static_cast<int64_t>(batch.places.size());
  EXPECT_EQ(images, 5);

  fs::remove(train_tar());
  std::vector<std::string> told;
  options.on_notice = [&](const std::string& line) { told.push_back(line); };
  data = open_data(config, options);
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(data.train, nullptr);
  ASSERT_NE(data.val, nullptr);
  EXPECT_EQ(data.val->samples(), 5);
  EXPECT_EQ(data.evaluation_loader("test", 4)->samples(), 5);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { data.evaluation_loader("train", 4); }, {"no train part", "val"}));
  EXPECT_EQ(data_sizes(config, options)->classes, 3);
  config.normalize_by = NormalizeBy::computed;
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_data(config, options); }, {"computed", "training part"}));
  config.normalize_by = NormalizeBy::mean_image;
  config.mean_image = "computed";
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_data(config, options); }, {"computed", "training part"}));
}

}  // namespace
}  // namespace striate
