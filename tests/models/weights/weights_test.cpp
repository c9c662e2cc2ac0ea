#include "models/weights/weights.h"

#include <gtest/gtest.h>

#include "engine/nn/layers.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/models/weights/torch_archive.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate::models {
namespace {

using test::TempDir;

const Shape kInput{32, 32, 3};

std::shared_ptr<nn::Module> small_model(uint64_t seed, int64_t classes = 5) {
  ModelConfig config;
  config.name = "resnet18";
  config.width = 0.05;
  return build_model(config, kInput, classes, seed);
}

testing::AssertionResult same_weights(const nn::Module& a, const nn::Module& b) {
  const std::vector<NamedTensor> left = named_weights(a), right = named_weights(b);
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i].tensor.to_vector<float>() != right[i].tensor.to_vector<float>()) {
      return testing::AssertionFailure() << left[i].name;
    }
  }
  return testing::AssertionSuccess();
}

/// The tensors as torch.save writes those of a network that DataParallel wraps, with batches counted.
std::string torch_zip(const std::vector<NamedTensor>& tensors) {
  std::vector<test::ZipEntry> entries{{"net/data.pkl", ""}};
  test::PickleWriter pickle;
  pickle.begin_dict();
  for (const NamedTensor& t : tensors) {
    Shape strides(t.tensor.shape().size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * t.tensor.shape()[i];
    const std::string key = std::to_string(entries.size());
    const bool is_float = t.tensor.dtype() == DType::float32;
    pickle.text("module." + t.name);
    pickle.tensor(is_float ? "FloatStorage" : "LongStorage", key, t.tensor.size(), 0, t.tensor.shape(), strides);
    entries.push_back({"net/data/" + key, is_float ? test::bytes_of(t.tensor.to_vector<float>())
                                                   : test::bytes_of(t.tensor.to_vector<int64_t>())});
  }
  entries[0].bytes = pickle.end_dict().stop();
  return test::zip_of(entries);
}

TEST(LoadWeights, TakesEveryKindOfFile) {
  const TempDir dir;
  const auto model = small_model(1);
  save_weights(dir / "ours", *model, {{"model", "resnet18"}});
  save_pytorch_weights(dir / "pytorch", *model, kInput, {{"model", "resnet18"}});
  std::vector<NamedTensor> tensors = read_safetensors(dir / "pytorch").tensors;
  tensors.push_back({"bn1.num_batches_tracked", Tensor::from<int64_t>({7}, {})});
  test::put_file(dir / "torch", torch_zip(tensors));
  for (const char* file : {"ours", "pytorch", "torch"}) {
    const auto other = small_model(2);
    EXPECT_FALSE(same_weights(*other, *model));
    const Metadata metadata = load_weights(dir / file, *other, kInput);
    EXPECT_TRUE(same_weights(*other, *model)) << file;
    EXPECT_EQ(metadata.count("model"), file == std::string("torch") ? 0u : 1u);
  }
  const Metadata pytorch = read_safetensors_metadata(dir / "pytorch");
  EXPECT_EQ(pytorch.at("format"), "pt");
  EXPECT_EQ(stored_layout(pytorch), "");
  EXPECT_EQ(read_safetensors(dir / "pytorch").find("conv1.weight")->shape(), (Shape{3, 3, 3, 3}));
}

TEST(LoadWeights, ListsWhatDoesNotFitAndChangesNothing) {
  const TempDir dir;
  const auto model = small_model(1), before = small_model(1);
  std::vector<NamedTensor> tensors;
  save_pytorch_weights(dir / "w", *small_model(2, 9), kInput);
  for (const NamedTensor& t : read_safetensors(dir / "w").tensors) {
    if (t.name != "layer1.0.conv1.weight") tensors.push_back(t);
  }
  tensors.push_back({"head.weight", Tensor::zeros({2, 3})});
  write_safetensors(dir / "w", tensors, {});
  test::put_file(dir / "w.pth", torch_zip(tensors));
  for (const char* file : {"w", "w.pth"}) {
    EXPECT_TRUE(test::throws_with<ConfigError>(
        [&] { load_weights(dir / file, *model, kInput); },
        {file, "another model", "missing: layer1.0.conv1.weight, expected float32 [3,3,3,3]",
         "fc.weight: expected float32 [5,26], found float32 [9,26]", "unexpected: head.weight, float32 [2,3]"}));
    EXPECT_TRUE(same_weights(*model, *before));
  }
}

TEST(LoadWeights, RefusesOtherFiles) {
  const TempDir dir;
  const auto model = small_model(1);
  test::put_file(dir / "w", std::string(1000, 'x'));
  EXPECT_TRUE(test::throws_with<IoError>([&] { load_weights(dir / "w", *model, kInput); }, {"not a safetensors file"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { load_weights(dir / "absent", *model, kInput); }, {"absent"}));
  write_safetensors(dir / "w", named_weights(*model), {{"striate_layout", "CHWN"}});
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { load_weights(dir / "w", *model, kInput); }, {"layout CHWN"}));
}

}  // namespace
}  // namespace striate::models
