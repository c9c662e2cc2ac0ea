#include <gtest/gtest.h>

#include <filesystem>

#include "engine/train/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Convert, ThereAndBackAndIntoOnnx) {
  const TempDir dir;
  train_tiny(dir / "run", {"--set", "model.width=1"});
  const std::string torch = dir / "torch.safetensors", ours = dir / "ours.safetensors", onnx = dir / "m.onnx";
  const Outcome there = run_tool("convert", {"--run", (dir / "run").string(), "--to", torch});
  ASSERT_EQ(there.code, 0) << there.err;
  EXPECT_TRUE(has(there.out, torch + ": alexnet_mini")) << there.out;
  EXPECT_TRUE(has(there.out, "PyTorch's names and layout")) << there.out;

  const Safetensors best = read_safetensors(dir / "run/best.safetensors"), exported = read_safetensors(torch);
  const Tensor &conv = *best.find("features.0.weight"), &foreign = *exported.find("features.0.weight");
  EXPECT_EQ(foreign.shape(), (Shape{conv.dim(0), conv.dim(3), conv.dim(1), conv.dim(2)}));
  EXPECT_EQ(exported.metadata, (Metadata{{"format", "pt"}, {"model", "alexnet_mini"}}));

  const Outcome back = run_tool("convert", {"--model", "alexnet_mini", "--classes", "10", "--input", "32,32,3",
                                            "--from", torch, "--to", ours, "--layout", "striate"});
  ASSERT_EQ(back.code, 0) << back.err;
  const Safetensors again = read_safetensors(ours);
  ASSERT_EQ(again.tensors.size(), best.tensors.size());
  for (const NamedTensor& t : best.tensors) {
    EXPECT_EQ(again.find(t.name)->to_vector<float>(), t.tensor.to_vector<float>()) << t.name;
  }
  EXPECT_EQ(again.text("striate_layout"), "NHWC");

  const Outcome exchange = run_tool("convert", {"--run", (dir / "run").string(), "--to", onnx});
  ASSERT_EQ(exchange.code, 0) << exchange.err;
  EXPECT_TRUE(has(exchange.out, "ONNX opset 17, images [batch,3,32,32]")) << exchange.out;
  EXPECT_GT(fs::file_size(onnx), fs::file_size(ours) - 4096);
}

TEST(Convert, SaysWhatIsMissingOrWrong) {
  const TempDir dir;
  const auto refused = [&](std::vector<std::string> flags, int code, const std::string& part) {
    const Outcome outcome = run_tool("convert", flags);
    EXPECT_EQ(outcome.code, code) << outcome.out;
    EXPECT_TRUE(has(outcome.err, part)) << outcome.err;
  };
  const std::string to = dir / "w.safetensors";
  write_text(dir / "broken", "nonsense");
  refused({"--model", "lenet", "--from", "w.pth"}, 2, "--to F is missing");
  refused({"--model", "lenet", "--to", to}, 2, "no weights to convert");
  refused({"--model", "lenet", "--from", "w.pth", "--to", "w.pth"}, 2, "a pickle can run code");
  refused({"--model", "lenet", "--from", "w.pth", "--to", "w.h5"}, 2, ".safetensors or .onnx");
  refused({"--model", "lenet", "--from", "w.pth", "--to", to, "--layout", "nchw"}, 2, "expected torch or striate");
  refused({"--model", "lenet", "--from", "w.pth", "--to", "m.onnx", "--layout", "torch"}, 2, "ONNX is NCHW");
  refused({"--model", "lenet", "--from", "w.pth", "--weights", "w.pth", "--to", to}, 2, "one of them is enough");
  refused({"--model", "lenet", "--from", "nosuch.pth", "--to", to}, 1, "nosuch.pth");
  refused({"--model", "lenet", "--from", (dir / "broken").string(), "--to", to}, 1, "broken");
  EXPECT_FALSE(fs::exists(to));
}

}  // namespace
}  // namespace striate::test
