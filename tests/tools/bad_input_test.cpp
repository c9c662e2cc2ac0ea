#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

/// What a tool must refuse. "@" in flags and expectations is a folder of the test's own, in which `run` holds a run of
/// alexnet_mini, `file` is a file and `notes.txt` holds no weights.
struct Case {
  const char* name;
  const char* tool;
  std::vector<std::string> flags;
  int code;
  std::vector<const char*> expected;  ///< parts of what it says on standard error
  bool tiny = false;                  ///< tiny_flags() stand before the flags
};

void PrintTo(const Case& refused, std::ostream* out) { *out << refused.name; }

std::string with_folder(std::string text, const fs::path& folder) {
  for (size_t at; (at = text.find('@')) != std::string::npos;) text.replace(at, 1, folder.string());
  return text;
}

class BadInput : public testing::TestWithParam<Case> {};

TEST_P(BadInput, IsRefusedWithWhatToDo) {
  const Case& refused = GetParam();
  TempDir folder;
  write_text(folder / "file", "");
  write_text(folder / "notes.txt", "no weights");
  const bool needs_run = [&] {
    for (const std::string& flag : refused.flags) {
      if (flag.find("@/run") != std::string::npos) return true;
    }
    return false;
  }();
  if (needs_run) train_tiny(folder / "run", {"--set", "train.max_steps=1"});

  std::vector<std::string> flags = refused.tiny ? tiny_flags() : std::vector<std::string>();
  for (const std::string& flag : refused.flags) flags.push_back(with_folder(flag, folder.path()));
  if (refused.tiny && std::find(flags.begin(), flags.end(), "--output") == flags.end()) {
    flags.insert(flags.end(), {"--output", (folder / "new").string()});
  }
  const Outcome outcome = run_tool(refused.tool, flags);
  EXPECT_EQ(outcome.code, refused.code) << outcome.out << outcome.err;
  for (const char* part : refused.expected) {
    EXPECT_NE(outcome.err.find(with_folder(part, folder.path())), std::string::npos)
        << "'" << part << "' is not in: " << outcome.err;
  }
  EXPECT_EQ(outcome.err.rfind(std::string(refused.tool) + ": ", 0), 0u) << outcome.err;
  EXPECT_FALSE(fs::exists(folder / "new" / "metrics.csv")) << "nothing was begun";
}

INSTANTIATE_TEST_SUITE_P(
    CommandLine, BadInput,
    testing::Values(
        Case{"train_unknown_flag", "train", {"--ouput", "x"}, 2, {"--ouput", "did you mean '--output'"}},
        Case{"evaluate_unknown_flag", "evaluate", {"--rum", "x"}, 2, {"--run"}},
        Case{"inspect_unknown_flag", "inspect", {"--bach", "2"}, 2, {"--batch"}},
        Case{"train_without_config", "train", {}, 2, {"--config"}},
        Case{"missing_config", "train", {"--config", "@/none.yaml"}, 2, {"@/none.yaml"}},
        Case{"missing_run", "train", {"--resume", "@/none"}, 2, {"@/none", "no run"}},
        Case{"folder_without_run", "evaluate", {"--run", "@"}, 2, {"config.yaml"}},
        Case{"resume_with_output", "train", {"--resume", "@/run", "--output", "@/x"}, 2, {"--resume"}},
        Case{"missing_checkpoint",
             "evaluate",
             {"--run", "@/run", "--checkpoint", "@/none.safetensors"},
             2,
             {"@/none.safetensors", "best and last"}},
        Case{"run_and_model", "evaluate", {"--run", "@/run", "--model", "lenet"}, 2, {"--run", "--model"}},
        Case{"no_network", "inspect", {}, 2, {"--model"}},
        Case{"unknown_model", "inspect", {"--model", "alxnet"}, 2, {"alexnet"}},
        Case{"odd_input", "inspect", {"--model", "lenet", "--input", "32x32"}, 2, {"H,W,C"}},
        Case{"input_too_small", "inspect", {"--model", "alexnet", "--input", "16,16,3"}, 2, {"63"}},
        Case{"odd_split", "evaluate", {"--run", "@/run", "--split", "tests"}, 2, {"train, val, test or unlabelled"}},
        Case{"no_dataset", "evaluate", {"--model", "lenet"}, 2, {"data.dataset"}},
        Case{"predict_nothing", "predict", {"--model", "lenet"}, 2, {"no picture is named"}},
        Case{"predict_unknown_flag", "predict", {"--lables", "x"}, 2, {"--labels"}},
        Case{"sweep_unknown_flag", "sweep", {"--varry", "x"}, 2, {"--vary"}},
        Case{"sweep_without_config", "sweep", {"--vary", "seed=1,2", "--output", "@/new"}, 2, {"--config"}},
        Case{"sweep_of_nothing", "sweep", {}, 2, {"--vary", "nothing varies"}, true},
        Case{"sweep_of_an_unknown_key",
             "sweep",
             {"--vary", "train.batch_sise=1,2"},
             2,
             {"train.batch_sise", "'batch_size'"},
             true},
        Case{"sweep_of_a_bad_value", "sweep", {"--vary", "train.optimizer.name=sgd,adan"}, 2, {"adam"}, true},
        Case{"threads", "train", {"--threads", "some"}, 2, {"threads"}, true}),
    [](const auto& tested) { return tested.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Configuration, BadInput,
    testing::Values(
        Case{"unknown_key", "train", {"--set", "train.epoch=3"}, 2, {"train.epoch", "'epochs'"}, true},
        Case{"wrong_type", "train", {"--set", "train.batch_size=big"}, 2, {"train.batch_size", "big"}, true},
        Case{"unknown_optimizer", "train", {"--set", "train.optimizer.name=adan"}, 2, {"adam"}, true},
        Case{"too_few_classes", "train", {"--set", "model.num_classes=5"}, 2, {"num_classes", "5", "10"}, true},
        Case{"wrong_channels", "train", {"--set", "model.in_channels=1"}, 2, {"in_channels", "1", "3"}, true},
        Case{"crop_larger_than_image",
             "train",
             {"--set", "data.train_transforms=[{random_crop: 64}]"},
             2,
             {"64", "32"},
             true},
        Case{"image_too_small_for_the_network",
             "train",
             {"--set", "model.name=alexnet", "--set", "data.image_size=24", "--set", "data.train_transforms=[]"},
             2,
             {"alexnet", "24"},
             true},
        Case{"unknown_transform", "train", {"--set", "data.train_transforms=[flip]"}, 2, {"flip"}, true},
        Case{"vendors_kernels_elsewhere",
             "train",
             {"--device", "cpu", "--set", "model.linear=cublas"},
             2,
             {"model.linear: 'cublas'", "the device is cpu", "use 'own'"},
             true},
        Case{"device", "train", {"--device", "gpu"}, 2, {"gpu", "auto, cpu, reference or cuda"}, true},
        Case{"unknown_weight_format", "train", {"--init", "@/notes.txt"}, 1, {"@/notes.txt"}, true},
        Case{"missing_weights", "train", {"--init", "@/none.safetensors"}, 1, {"@/none.safetensors"}, true}),
    [](const auto& tested) { return tested.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Files, BadInput,
    testing::Values(
        Case{"missing_fashion_mnist",
             "train",
             {"--set", "model.name=lenet", "--set", "data.dataset=fashion_mnist", "--set", "data.path=@/none"},
             1,
             {"@/none", "dataset-fashion-mnist"}},
        Case{"missing_cifar10",
             "train",
             {"--set", "model.name=lenet", "--set", "data.dataset=cifar10", "--set", "data.path=@/none"},
             1,
             {"@/none", "cifar"}},
        Case{"missing_image_folder",
             "train",
             {"--set", "model.name=lenet", "--set", "data.dataset=image_folder", "--set", "data.path=@/none"},
             1,
             {"@/none"}},
        Case{"output_below_a_file", "train", {"--output", "@/file/run"}, 1, {"@/file/run"}, true},
        Case{"output_is_a_file", "train", {"--output", "@/file"}, 2, {"@/file"}, true},
        Case{"checkpoint_of_another_model",
             "evaluate",
             {"--model", "lenet", "--weights", "@/run/best.safetensors", "--set", "data.dataset=synthetic"},
             2,
             {"@/run/best.safetensors", "features.0.weight"}},
        Case{"init_of_another_model",
             "train",
             {"--init", "@/run/best.safetensors", "--set", "model.name=lenet"},
             2,
             {"@/run/best.safetensors"},
             true},
        Case{"json_cannot_be_written",
             "inspect",
             {"--model", "lenet", "--json", "@/none/x.json"},
             1,
             {"@/none/x.json"}}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace striate::test
