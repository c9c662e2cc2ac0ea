// A batch of pictures on its way into the network: cropped and mirrored, with and without steps on its levels.
#include "benchmarks/kernels_measure.h"
#include "kernels/image_batch/image_batch.h"

namespace striate::bench {
namespace {

Lines<ImagePlacement> placements_of(const ImageBatchShape& s) {
  Lines<ImagePlacement> placements(static_cast<size_t>(s.N));
  for (size_t i = 0; i < placements.size(); ++i) {
    const int shift = static_cast<int>(i % 5);
    placements[i] = {s.slot_h,
                     s.slot_w,
                     std::min(shift, s.slot_h - s.H),
                     std::min(2 * shift, s.slot_w - s.W),
                     static_cast<int>(i % 2),
                     s.steps};
  }
  return placements;
}

Lines<LevelStep> steps_of(const ImageBatchShape& s) {
  constexpr LevelStepKind kJitter[] = {LevelStepKind::hue, LevelStepKind::contrast, LevelStepKind::shift};
  Lines<LevelStep> steps(static_cast<size_t>(std::max<int64_t>(s.N * s.steps, 1)));
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = {.kind = kJitter[i % 3], .amount = {0.4f, 0.4f, 0.4f}};
  return steps;
}

template <typename T>
struct Images {
  using Shape = ImageBatchShape;
  static constexpr const char *kOp = "image_batch", *kPass = "forward", *kMoved = "x (1 byte a value) + y";
  static double bytes(const Shape& s) {
    return bytes_of<uint8_t>(s.N * s.image_size()) + bytes_of<T>(s.N * s.image_size());
  }
  static Shape part(Shape s) {
    s.N = std::min<int64_t>(s.N, 2);  // of which the second is mirrored
    return s;
  }
  Side side;
  Shape shape;
  Context& context;
  Operand<uint8_t> x;
  Operand<ImagePlacement> placements;
  Operand<LevelStep> steps;
  Operand<T> y;
  Images(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        x(on, s.N * s.slot_size(), 1),
        placements(on, placements_of(s)),
        steps(on, steps_of(s)),
        y(on, s.N * s.image_size()) {}
  void run() {
    constexpr PixelScaling kScaling{.scale = {0.017, 0.018, 0.016}, .shift = {-2.1, -2.0, -1.8}};
    choose(side, reference::image_batch<T>, cpu::image_batch<T>, cuda::image_batch<T>)(
        {x, placements, steps, kScaling, {}}, y, shape, context);
  }
  Results results() const { return results_of(y); }
};

}  // namespace

void add_images(KernelList& list) {
  add<Images>(list, "tiny", {2, 12, 12, 9, 9, 3, 3, true});
  add<Images>(list, "128_of_224", {128, 256, 256, 224, 224, 3, 0, false});
  add<Images>(list, "128_of_224_jittered", {128, 256, 256, 224, 224, 3, 3, true});
}

}  // namespace striate::bench
