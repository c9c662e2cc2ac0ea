#include "kernels/image_batch/image_batch.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/image_batch/levels.h"
#include "tests/support/backend.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct ImageBatchFunctions {
  decltype(&cpu::image_batch<float>) to_float;
  decltype(&cpu::image_batch<bfloat16>) to_bfloat16;
};

constexpr BackendTable<ImageBatchFunctions> kImageBatch = {
    .cpu = {&cpu::image_batch<float>, &cpu::image_batch<bfloat16>},
    .cuda = {&cuda::image_batch<float>, &cuda::image_batch<bfloat16>}};

enum class Scaling { scale, table, offsets };

struct ImageBatchCase {
  std::string name;
  ImageBatchShape shape;
  std::vector<LevelStepKind> steps;  // of every other picture; the rest have one less, and then none
  ImageMix::Kind mix = ImageMix::Kind::none;
  Scaling scaling = Scaling::scale;
};

/// Whole numbers in [low, high], one after another.
class Draws {
 public:
  explicit Draws(uint32_t seed) : seed_(seed) {}
  int between(int low, int high) {
    return low + static_cast<int>(random_word(seed_, next_++) % static_cast<uint32_t>(high - low + 1));
  }
  float uniform(float low, float high) { return low + (high - low) * uniform_from_word(random_word(seed_, next_++)); }

 private:
  uint32_t seed_;
  uint64_t next_ = 0;
};

LevelStep draw_step(LevelStepKind kind, const ImageBatchShape& s, Draws& draws) {
  LevelStep step{.kind = kind};
  for (float& amount : step.amount) {
    amount = kind == LevelStepKind::hue     ? draws.uniform(-0.5f, 0.5f)
             : kind == LevelStepKind::shift ? draws.uniform(-40.0f, 40.0f)
                                            : draws.uniform(0.0f, 2.0f);
  }
  step.top = draws.between(0, s.H - 1);
  step.left = draws.between(0, s.W - 1);
  step.bottom = draws.between(step.top + 1, s.H);
  step.right = draws.between(step.left + 1, s.W);
  for (uint8_t& level : step.fill) level = static_cast<uint8_t>(draws.between(0, 255));
  step.first_word = static_cast<uint32_t>(draws.between(0, 9));
  for (uint32_t& word : step.stream) word = static_cast<uint32_t>(draws.between(0, 1 << 30));
  for (uint32_t& word : step.key) word = static_cast<uint32_t>(draws.between(0, 1 << 30));
  return step;
}

/// A batch of one case and the memory that it points to.
struct Pictures {
  Values<uint8_t> pixels;
  Values<ImagePlacement> placements;
  Values<LevelStep> steps;
  Values<float> table, offsets;
  ImageBatch batch;

  explicit Pictures(const ImageBatchCase& c) {
    const ImageBatchShape& s = c.shape;
    Draws draws(7);
    pixels = small_integers<uint8_t>(s.pictures() * s.slot_size(), 1, 0, 255);
    for (int64_t n = 0; n < s.pictures(); ++n) {
      ImagePlacement place{.rows = draws.between(1, s.slot_h), .columns = draws.between(1, s.slot_w)};
      if (n % 3 == 0) place = {.rows = s.slot_h, .columns = s.slot_w};
      // From beyond the picture on one side to beyond it on the other.
      if (n % 3 != 0) place.top = draws.between(-s.H, place.rows), place.left = draws.between(-s.W, place.columns);
      place.mirrored = static_cast<int32_t>(n % 2);
      const auto most = static_cast<int>(c.steps.size());
      place.steps = n % 4 == 3 ? 0 : n % 2 == 0 ? most : std::max(most - 1, 0);
      placements.push_back(place);
      for (int i = 0; i < s.steps; ++i) {
        steps.push_back(i < most ? draw_step(c.steps[static_cast<size_t>(i)], s, draws) : LevelStep{});
      }
    }
    batch = {pixels.data(), placements.data(), steps.data(), {}, {}};
    for (int channel = 0; channel < 3; ++channel) {
      batch.scaling.scale[channel] = draws.uniform(0.01f, 0.03f) + 1e-9;
      batch.scaling.shift[channel] = draws.uniform(-3.0f, 0.0f) + 1e-9;
      batch.scaling.factor[channel] = draws.uniform(0.01f, 0.03f);
    }
    if (c.scaling == Scaling::table) {
      table = uniform<float>(s.C * 256, 3);
      batch.scaling.table = table.data();
    }
    if (c.scaling == Scaling::offsets) {
      batch.scaling.offset_rows = s.H % 2 == 0 ? s.H / 2 : s.H;
      offsets = uniform<float>(int64_t{batch.scaling.offset_rows} * s.W * s.C, 4);
      batch.scaling.offsets = offsets.data();
    }
    batch.mix = {c.mix, 0.3f, s.H / 4, s.W / 4, s.H - s.H / 4, s.W};
  }
};

using Kind = LevelStepKind;

std::vector<ImageBatchCase> cases() {
  const std::vector<Kind> jitter = {Kind::hue, Kind::brightness, Kind::contrast, Kind::saturation};
  const auto shape = [](int64_t n, int slot_h, int slot_w, int h, int w, int c, const std::vector<Kind>& steps) {
    const bool has_contrast = std::find(steps.begin(), steps.end(), Kind::contrast) != steps.end();
    return ImageBatchShape{n, slot_h, slot_w, h, w, c, static_cast<int>(steps.size()), has_contrast};
  };
  std::vector<ImageBatchCase> all;
  const auto add = [&](const char* name, int64_t n, std::array<int, 5> sizes, const std::vector<Kind>& steps,
                       ImageMix::Kind mix = ImageMix::Kind::none, Scaling scaling = Scaling::scale) {
    all.push_back({name, shape(n, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], steps), steps, mix, scaling});
  };
  const std::vector<Kind> everything = {Kind::brightness, Kind::hue,   Kind::saturation, Kind::contrast,
                                        Kind::shift,      Kind::erase, Kind::hue,        Kind::erase_randomly};
  add("empty", 0, {4, 4, 4, 4, 3}, {});
  add("one_pixel", 1, {1, 1, 1, 1, 1}, {});
  add("as_they_are", 3, {8, 8, 8, 8, 3}, {});
  add("grey_28", 5, {28, 28, 28, 28, 1}, {});
  add("grey_windows", 7, {9, 7, 11, 5, 1}, {Kind::brightness, Kind::saturation, Kind::hue, Kind::contrast});
  add("cifar_windows", 6, {32, 32, 32, 32, 3}, {});
  add("narrow", 6, {3, 40, 2, 37, 3}, {Kind::erase, Kind::erase_randomly});
  add("odd", 5, {13, 17, 11, 15, 3}, {Kind::shift});
  add("several_tiles", 4, {37, 41, 35, 39, 3}, jitter);
  add("several_grey_tiles", 4, {47, 41, 47, 41, 1}, {Kind::contrast, Kind::shift, Kind::erase_randomly});
  add("wider_than_a_tile", 2, {2, 1200, 2, 1100, 3}, {Kind::contrast});
  add("everything", 9, {21, 23, 20, 22, 3}, everything);
  add("table", 5, {12, 11, 10, 11, 3}, {Kind::brightness}, ImageMix::Kind::none, Scaling::table);
  add("grey_table", 3, {5, 7, 5, 7, 1}, {}, ImageMix::Kind::none, Scaling::table);
  add("mean_image", 4, {11, 12, 11, 9, 3}, {}, ImageMix::Kind::none, Scaling::offsets);
  add("stack_of_crops", 3, {40, 9, 40, 9, 1}, {}, ImageMix::Kind::none, Scaling::offsets);
  add("blended", 5, {19, 17, 19, 17, 3}, jitter, ImageMix::Kind::blend);
  add("blended_mean_image", 2, {9, 9, 9, 9, 1}, {}, ImageMix::Kind::blend, Scaling::offsets);
  add("blended_with_itself", 1, {9, 9, 9, 9, 3}, {Kind::shift}, ImageMix::Kind::blend);
  add("cut", 5, {19, 17, 19, 17, 3}, everything, ImageMix::Kind::cut);
  add("cut_with_a_halo", 5, {19, 17, 19, 17, 3}, everything, ImageMix::Kind::cut);
  all.back().shape.halo = 1;
  add("blended_with_a_halo_alone", 1, {37, 41, 35, 39, 3}, jitter, ImageMix::Kind::blend);
  all.back().shape.halo = 1;
  add("nothing_but_a_halo", 0, {9, 9, 9, 9, 3}, jitter, ImageMix::Kind::blend);
  all.back().shape.halo = 1;
  add("cut_table", 4, {40, 31, 40, 31, 1}, {Kind::contrast}, ImageMix::Kind::cut, Scaling::table);
  return all;
}

class ImageBatchTest : public BackendTest<OnBackend<ImageBatchCase>> {
 protected:
  TestContext context_;
};

TEST_P(ImageBatchTest, HasTheBitsOfTheReference) {
  const ImageBatchCase& c = GetParam().value;
  const Pictures pictures(c);
  const int64_t n = c.shape.N * c.shape.image_size();
  GuardedBuffer<float> y(n), expected(n);
  kImageBatch[backend()].to_float(pictures.batch, y.data(), c.shape, context_);
  reference::image_batch(pictures.batch, expected.data(), c.shape, context_);
  if (n > 0) {
    EXPECT_EQ(std::memcmp(y.data(), expected.data(), static_cast<size_t>(n) * sizeof(float)), 0);
  }
  EXPECT_TRUE(y.intact());

  // One value further: no vector of four begins where a picture does.
  GuardedBuffer<float> moved(n + 1);
  kImageBatch[backend()].to_float(pictures.batch, moved.data() + 1, c.shape, context_);
  if (n > 0) {
    EXPECT_EQ(std::memcmp(moved.data() + 1, expected.data(), static_cast<size_t>(n) * sizeof(float)), 0);
  }
  EXPECT_TRUE(moved.intact());

  GuardedBuffer<uint16_t> halves(n);
  kImageBatch[backend()].to_bfloat16(pictures.batch, reinterpret_cast<bfloat16*>(halves.data()), c.shape, context_);
  int64_t wrong = 0;
  for (int64_t i = 0; i < n; ++i) wrong += halves[i] != to_bfloat16(expected[i]).bits ? 1 : 0;
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(halves.intact());
}

INSTANTIATE_TEST_SUITE_P(, ImageBatchTest, on_every_backend(cases()), case_name);

// What the reference says, by hand: the window, black beyond the picture, mirroring, then a step.
TEST(ImageBatchReference, PlacesMirrorsAndScales) {
  TestContext context;
  const ImageBatchShape shape{.N = 1, .slot_h = 2, .slot_w = 3, .H = 2, .W = 3, .C = 1, .steps = 1};
  const Values<uint8_t> pixels = {10, 20, 30, 40, 50, 60};
  const Values<ImagePlacement> places = {{.rows = 2, .columns = 2, .top = 1, .left = -1, .mirrored = 1, .steps = 1}};
  const Values<LevelStep> steps = {{.kind = Kind::shift, .amount = {3.5f}}};
  Values<float> y(6);
  const ImageBatch batch{pixels.data(), places.data(), steps.data(), {.scale = {2.0}, .shift = {-1.0}}, {}};
  reference::image_batch(batch, y.data(), shape, context);
  // Row 1 is 40 50 behind a black column; mirrored 50 40 black; the shift adds 3, and 2·x − 1.
  EXPECT_EQ(y, (Values<float>{105, 85, 5, 5, 5, 5}));
}

TEST(ImageBatchReference, BlendsWithTheOneBefore) {
  TestContext context;
  const ImageBatchShape shape{.N = 3, .slot_h = 1, .slot_w = 1, .H = 1, .W = 1, .C = 1};
  const Values<uint8_t> pixels = {100, 200, 0};
  const Values<ImagePlacement> places(3, {.rows = 1, .columns = 1});
  Values<float> y(3);
  ImageBatch batch{pixels.data(), places.data(), nullptr, {.scale = {1.0}}, {ImageMix::Kind::blend, 0.75f}};
  reference::image_batch(batch, y.data(), shape, context);
  EXPECT_EQ(y, (Values<float>{75, 175, 50}));
  batch.mix = {ImageMix::Kind::cut, 0.0f, 0, 0, 1, 1};
  reference::image_batch(batch, y.data(), shape, context);
  EXPECT_EQ(y, (Values<float>{0, 100, 200}));
}

TEST(ImageBatchReference, BlendsTheFirstWithTheHaloWhereThereIsOne) {
  TestContext context;
  const ImageBatchShape shape{.N = 2, .slot_h = 1, .slot_w = 1, .H = 1, .W = 1, .C = 1, .halo = 1};
  const Values<uint8_t> pixels = {100, 200, 40};
  const Values<ImagePlacement> places(3, {.rows = 1, .columns = 1});
  Values<float> y(2);
  const ImageBatch batch{pixels.data(), places.data(), nullptr, {.scale = {1.0}}, {ImageMix::Kind::blend, 0.75f}};
  reference::image_batch(batch, y.data(), shape, context);
  EXPECT_EQ(y, (Values<float>{85, 175}));
}

TEST(ImageBatchShape, RefusesWhatItCannotDo) {
  const ImageBatchShape good{.N = 1, .slot_h = 2, .slot_w = 3, .H = 2, .W = 3, .C = 1};
  good.check();
  for (int which = 0; which < 6; ++which) {
    ImageBatchShape bad = good;
    if (which == 0) bad.C = 2;
    if (which == 1) bad.W = 0;
    if (which == 2) bad.N = -1;
    if (which == 3) bad.steps = 9;
    if (which == 4) bad.slot_h = bad.slot_w = 1 << 16;
    if (which == 5) bad.halo = 2;
    EXPECT_TRUE(throws_with<ShapeError>([&] { bad.check(); }, {"image_batch"})) << which;
  }
}

}  // namespace
}  // namespace striate::test
