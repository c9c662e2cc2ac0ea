#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "engine/autograd.h"
#include "engine/config.h"
#include "models/registry.h"

namespace striate::models {
namespace {

std::string page() {
  std::ifstream file(STRIATE_SOURCE_DIR "/docs/models.md");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string with_commas(int64_t n) {
  return n < 1000 ? std::to_string(n) : fmt::format("{},{:03}", with_commas(n / 1000), n % 1000);
}

TEST(ModelsPage, HasEveryModelWithItsFigures) {
  const std::string text = page();
  for (const ModelInfo& info : model_list()) {
    const size_t begin = text.find(fmt::format("\n| `{}` |", info.name));
    ASSERT_NE(begin, std::string::npos) << info.name;
    const std::string row = text.substr(begin + 1, text.find('\n', begin + 1) - begin);
    ModelConfig config;
    config.name = info.name;
    const int64_t parameters = make_model(config)->parameter_count();
    const std::string place = !info.dropout_place                                 ? "nowhere"
                              : info.dropout_place == DropoutPlace::before_linear ? "before the linear layers"
                                                                                  : "after the activations";
    for (const std::string& part : {with_commas(parameters), fmt::format("| {}", info.input[0]),
                                    fmt::format("| {} |", info.classes), fmt::format("| {} |", place)}) {
      EXPECT_NE(row.find(part), std::string::npos) << "'" << part << "' is not in " << row;
    }
  }
}

TEST(ModelsPage, ListOfLayersBuilds) {
  const std::string text = page(), fence = "```yaml\n";
  const size_t begin = text.find(fence);
  ASSERT_NE(begin, std::string::npos);
  const size_t first = begin + fence.size();
  ConfigReader reader = ConfigReader::parse(text.substr(first, text.find("```", first) - first));
  const auto model = make_model(ModelConfig::parse(reader.section("model")), {32, 32, 3}, 10);
  EXPECT_EQ(model->children().size(), 14u);
  const NoGradGuard no_grad;
  EXPECT_EQ((*model)(Tensor::zeros({1, 32, 32, 3})).shape(), (Shape{1, 10}));
}

}  // namespace
}  // namespace striate::models
