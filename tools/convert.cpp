// Weights from one kind of file into another: PyTorch's, Striate's, ONNX.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "kernels/error.h"
#include "models/registry.h"
#include "models/weights/onnx.h"
#include "models/weights/weights.h"
#include "tools/command_line.h"
#include "tools/experiments/number_text.h"
#include "tools/network_flags.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string from, to, layout = "torch";
};

enum class Format { torch, striate, onnx };

Format format_of(const CommandLine& command_line, const Flags& flags) {
  require<ConfigError>(!flags.to.empty(), "--to F is missing: a name that ends in .safetensors or .onnx");
  require<ConfigError>(flags.layout == "torch" || flags.layout == "striate", "--layout {}: expected torch or striate",
                       flags.layout);
  std::string extension = std::filesystem::path(flags.to).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".onnx") {
    require<ConfigError>(!command_line.given("--layout"), "--layout is for .safetensors; ONNX is NCHW");
    return Format::onnx;
  }
  require<ConfigError>(extension != ".pth" && extension != ".pt",
                       "--to {}: a pickle can run code, so none is written; a .safetensors file holds the same weights "
                       "(Python: safetensors.torch.load_file)",
                       flags.to);
  require<ConfigError>(extension == ".safetensors", "--to {}: expected a name that ends in .safetensors or .onnx",
                       flags.to);
  return flags.layout == "torch" ? Format::torch : Format::striate;
}

std::string nchw(const Shape& input) { return fmt::format("[batch,{},{},{}]", input[2], input[0], input[1]); }

int convert(int argc, char** argv) {
  CommandLine command_line(
      "Converts weights: torchvision's .pth, .safetensors in PyTorch's layout and Striate's own into .safetensors for "
      "either, or into ONNX.",
      {"--from alexnet-owt-7be5be79.pth --to alexnet.safetensors --layout striate --model alexnet",
       "--run runs/first --to first.safetensors", "--run runs/first --to first.onnx",
       "--from resnet18.safetensors --to resnet18.onnx --model resnet18 --input 32,32,3 --classes 10"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--from", flags.from, "F", "Weights of --model: .pth, .pt or .safetensors; the same as --weights")
      .option("--to", flags.to, "F", "What to write, by its name: .safetensors or .onnx")
      .option("--layout", flags.layout, "L", "Of .safetensors: torch (NCHW, the default) or striate (NHWC)");
  if (!command_line.parse(argc, argv)) return kDone;
  const Format format = format_of(command_line, flags);
  if (!flags.from.empty()) {
    require<ConfigError>(flags.network.weights.empty(), "--from and --weights are the same; one of them is enough");
    flags.network.weights = flags.from;
  }
  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  require<ConfigError>(!source.weights.empty(), "no weights to convert: --from F with --model NAME, or --run DIR");
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(source.config.model, sizes.input);
  const auto model = models::make_model(source.config.model, input, sizes.classes);
  models::load_weights(source.weights.string(), *model, input);

  const std::string name = source.config.model_name();
  const Metadata metadata{{"model", name}};
  std::string what;
  switch (format) {
    case Format::torch:
      models::save_pytorch_weights(flags.to, *model, input, metadata);
      what = "PyTorch's names and layout";
      break;
    case Format::striate:
      save_weights(flags.to, *model, metadata);
      what = "Striate's layout";
      break;
    case Format::onnx:
      models::save_onnx(flags.to, *model, input, metadata);
      what = fmt::format("ONNX opset 17, images {} → logits", nchw(input));
      break;
  }
  fmt::print("{}: {}, {} parameters, {}\n", flags.to, name, grouped(model->parameter_count()), what);
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("convert", [&] { return striate::convert(argc, argv); });
}
