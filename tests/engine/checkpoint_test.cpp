#include "engine/train/checkpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cmath>

#include "engine/optim/optimizer_config.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::all_weights;
using test::TempDir;
using test::toy_network;

std::unique_ptr<Optimizer> optimizer_for(nn::Module& network, const std::string& name = "sgd") {
  OptimizerConfig config;
  config.name = name;
  return make_optimizer(config, network.named_parameters(), 0.1);
}

RunState state_at(int64_t step) {
  RunState state;
  state.step = step;
  state.epoch = 2;
  state.batch = 5;
  state.rows = 2;
  state.loss_sum = 0.1 + 0.2;  // 0.30000000000000004
  state.best_value = 1e-300;
  state.schedule = {0.1, INFINITY, -3.0};
  state.options = "a=1\nb=two words\n";
  state.last.val_loss = 1.0 / 3.0;
  state.last.is_best = true;
  return state;
}

void fill_state(Optimizer& optimizer, float value) {
  for (NamedTensor& t : optimizer.state()) {
    if (t.tensor.dtype() == DType::float32) t.tensor.fill(value);
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void expect_error(const std::function<void()>& action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected " << parts[0];
  } catch (const Error& e) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << part << " in: " << e.what();
    }
  }
}

class Checkpoint : public testing::Test {
 protected:
  void save(int64_t step, float value) {
    for (NamedTensor& t : named_weights(*network)) t.tensor.fill(value);
    fill_state(*optimizer, -value);
    save_checkpoint(folder, *network, *optimizer, state_at(step), {{"model", "toy"}});
  }
  RunState load() { return load_checkpoint(folder, *loaded, *loaded_optimizer); }

  TempDir dir;
  std::string folder = dir.path();
  std::shared_ptr<nn::Sequential> network = toy_network(1), loaded = toy_network(2);
  std::unique_ptr<Optimizer> optimizer = optimizer_for(*network), loaded_optimizer = optimizer_for(*loaded);
};

TEST_F(Checkpoint, BringsEveryBitBack) {
  save(7, 0.5f);
  const RunState state = load(), expected = state_at(7);
  EXPECT_EQ(state.step, 7);
  EXPECT_EQ(state.epoch, 2);
  EXPECT_EQ(state.batch, 5);
  EXPECT_EQ(state.rows, 2);
  EXPECT_EQ(state.loss_sum, expected.loss_sum);
  EXPECT_EQ(state.best_value, 1e-300);
  EXPECT_EQ(state.schedule, expected.schedule);
  EXPECT_EQ(state.options, expected.options);
  EXPECT_EQ(state.last.val_loss, expected.last.val_loss);
  EXPECT_TRUE(std::isnan(state.last.val_top1));
  EXPECT_TRUE(state.last.is_best);
  EXPECT_EQ(all_weights(*loaded), all_weights(*network));
  EXPECT_EQ(loaded_optimizer->state()[0].tensor.to_vector<float>(), optimizer->state()[0].tensor.to_vector<float>());
  EXPECT_EQ(loaded_optimizer->state()[0].name, "momentum.0.weight");
}

TEST_F(Checkpoint, TheNewOneReplacesTheOld) {
  save(7, 0.5f);
  save(9, 0.25f);
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"last.safetensors", "resume-9-2.safetensors"}));
  EXPECT_EQ(load().step, 9);
}

// A kill between the two renames: the new state lies there, the weights still name the old one.
TEST_F(Checkpoint, AKillBetweenItsTwoFilesLeavesTheOldOne) {
  save(7, 0.5f);
  const std::string last = test::content(last_weights_path(folder));
  const std::string old_state = test::content(dir / "resume-7-2.safetensors");
  const std::vector<float> weights = all_weights(*network);
  save(9, 0.25f);
  write_file_atomically(last_weights_path(folder), last);
  write_file_atomically(dir / "resume-7-2.safetensors", old_state);
  write_file_atomically(dir / "best.safetensors.partial", "half");
  EXPECT_EQ(load().step, 7);
  EXPECT_EQ(all_weights(*loaded), weights);
  // What the kill left is gone.
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"last.safetensors", "resume-7-2.safetensors"}));
}

// The disk fills up in either of the two files.
TEST_F(Checkpoint, AFullDiskLeavesTheOldOne) {
  save(7, 0.5f);
  const std::vector<float> weights = all_weights(*network);
  const size_t state_bytes = fs::file_size(dir / "resume-7-2.safetensors"),
               last_bytes = fs::file_size(last_weights_path(folder));
  fs::create_symlink("/dev/full", last_weights_path(folder) + ".partial");
  expect_error([&] { save(9, 0.25f); }, {"last.safetensors", "No space left"});
  EXPECT_EQ(load().step, 7);
  EXPECT_EQ(all_weights(*loaded), weights);

  const auto previous = ::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  const rlimit limit{std::min(state_bytes, last_bytes) / 2, unlimited.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  expect_error([&] { save(11, 0.125f); }, {"resume-11-2.safetensors"});
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
  ::signal(SIGXFSZ, previous);
  EXPECT_EQ(load().step, 7);
  EXPECT_EQ(all_weights(*loaded), weights);
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"last.safetensors", "resume-7-2.safetensors"}));
}

TEST_F(Checkpoint, WeightsThatAreNotFiniteAreNotSaved) {
  save(7, 0.5f);
  network->named_parameters()[2].tensor.fill(INFINITY);
  expect_error([&] { save_checkpoint(folder, *network, *optimizer, state_at(8), {}); }, {"1.weight", "after step 8"});
  EXPECT_EQ(load().step, 7);
}

TEST_F(Checkpoint, FilesThatDoNotBelongTogether) {
  expect_error([&] { load(); }, {"no checkpoint", "last.safetensors"});

  save(7, 0.5f);
  const std::string state = test::content(dir / "resume-7-2.safetensors");
  save(9, 0.25f);
  write_file_atomically(dir / "resume-9-2.safetensors", state);  // of another step under this one's name
  expect_error([&] { load(); }, {"state of step 7", "weights of step 9"});

  fs::remove(dir / "resume-9-2.safetensors");
  expect_error([&] { load(); }, {"resume-9-2.safetensors", "No such file"});

  save_weights(last_weights_path(folder), *network, {{"resume", "../resume-9-2.safetensors"}, {"step", "9"}});
  expect_error([&] { load(); }, {"names no resume file"});
  save_weights(last_weights_path(folder), *network);
  expect_error([&] { load(); }, {"names no resume file"});
}

TEST_F(Checkpoint, OfAnotherModelOrOptimizer) {
  save(7, 0.5f);
  nn::Sequential other({std::make_shared<nn::Linear>(4, 2)});
  const auto other_optimizer = optimizer_for(other);
  expect_error(
      [&] { load_checkpoint(folder, other, *other_optimizer); },
      {"another model (toy)", "0.weight: expected float32 [2,4], found float32 [4,3,3,1]", "unexpected: 5.weight"});
  const auto adam = optimizer_for(*loaded, "adam");
  expect_error([&] { load_checkpoint(folder, *loaded, *adam); }, {"sgd", "adam"});
}

}  // namespace
}  // namespace striate
