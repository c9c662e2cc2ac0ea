// Pooling, forward and backward.
#include "benchmarks/kernels_measure.h"
#include "kernels/pool2d/pool2d.h"

namespace striate::bench {
namespace {

template <typename T>
struct MaxPoolForward {
  using Shape = Pool2dShape;
  static constexpr const char *kOp = "max_pool", *kPass = "forward", *kMoved = "x + y + index";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()) + bytes_of<uint8_t>(s.y_size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  Operand<uint8_t> index;
  MaxPoolForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.x_size(), 1), y(on, s.y_size()), index(on, s.y_size()) {}
  void run() {
    choose(side, reference::max_pool2d_forward<T>, cpu::max_pool2d_forward<T>, cuda::max_pool2d_forward<T>)(
        x, y, index, shape, context);
  }
  Results results() const { return results_of(y, index); }
};

template <typename T>
struct MaxPoolBackward {
  using Shape = Pool2dShape;
  static constexpr const char *kOp = "max_pool", *kPass = "backward", *kMoved = "dy + index + dx";
  static double bytes(const Shape& s) { return MaxPoolForward<T>::bytes(s); }
  MaxPoolForward<T> forward;  // whose index says where the gradients go
  Operand<T> dy, dx;
  MaxPoolBackward(Side on, const Shape& s, Context& c) : forward(on, s, c), dy(on, s.y_size(), 2), dx(on, s.x_size()) {
    forward.run();
  }
  void run() {
    choose(forward.side, reference::max_pool2d_backward<T>, cpu::max_pool2d_backward<T>, cuda::max_pool2d_backward<T>)(
        dy, forward.index, dx, forward.shape, forward.context);
  }
  Results results() const { return results_of(dx); }
};

template <typename T>
struct AvgPoolForward {
  using Shape = Pool2dShape;
  static constexpr const char *kOp = "avg_pool", *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  AvgPoolForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.x_size(), 1), y(on, s.y_size()) {}
  void run() {
    choose(side, reference::avg_pool2d_forward<T>, cpu::avg_pool2d_forward<T>, cuda::avg_pool2d_forward<T>)(x, y, shape,
                                                                                                            context);
  }
  Results results() const { return results_of(y); }
};

template <typename T>
struct AvgPoolBackward {
  using Shape = Pool2dShape;
  static constexpr const char *kOp = "avg_pool", *kPass = "backward", *kMoved = "dy + dx";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> dy, dx;
  AvgPoolBackward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), dy(on, s.y_size(), 1), dx(on, s.x_size()) {}
  void run() {
    choose(side, reference::avg_pool2d_backward<T>, cpu::avg_pool2d_backward<T>, cuda::avg_pool2d_backward<T>)(
        dy, dx, shape, context);
  }
  Results results() const { return results_of(dx); }
};

template <typename T>
struct AdaptivePoolForward {
  using Shape = AdaptivePool2dShape;
  static constexpr const char *kOp = "adaptive_avg_pool", *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  AdaptivePoolForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.x_size(), 1), y(on, s.y_size()) {}
  void run() {
    choose(side, reference::adaptive_avg_pool2d_forward<T>, cpu::adaptive_avg_pool2d_forward<T>,
           cuda::adaptive_avg_pool2d_forward<T>)(x, y, shape, context);
  }
  Results results() const { return results_of(y); }
};

template <typename T>
struct AdaptivePoolBackward {
  using Shape = AdaptivePool2dShape;
  static constexpr const char *kOp = "adaptive_avg_pool", *kPass = "backward", *kMoved = "dy + dx";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> dy, dx;
  AdaptivePoolBackward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), dy(on, s.y_size(), 1), dx(on, s.x_size()) {}
  void run() {
    choose(side, reference::adaptive_avg_pool2d_backward<T>, cpu::adaptive_avg_pool2d_backward<T>,
           cuda::adaptive_avg_pool2d_backward<T>)(dy, dx, shape, context);
  }
  Results results() const { return results_of(dx); }
};

Pool2dShape pool(int64_t N, int64_t size, int64_t C, int64_t window, int64_t stride, int64_t pad = 0) {
  return {N, size, size, C, window, window, stride, stride, pad, pad};
}

}  // namespace

void add_pooling(KernelList& list) {
  add<MaxPoolForward, MaxPoolBackward>(list, "tiny", pool(1, 7, 24, 3, 2, 1));
  add<MaxPoolForward, MaxPoolBackward>(list, "alexnet_pool1", pool(128, 55, 64, 3, 2));
  add<MaxPoolForward, MaxPoolBackward>(list, "alexnet_pool2", pool(128, 27, 192, 3, 2));
  add<MaxPoolForward, MaxPoolBackward>(list, "alexnet_pool5", pool(128, 13, 256, 3, 2));
  add<MaxPoolForward, MaxPoolBackward>(list, "resnet18_stem", pool(32, 112, 64, 3, 2, 1));
  add<MaxPoolForward, MaxPoolBackward>(list, "alexnet_mini_pool1", pool(256, 32, 32, 2, 2));
  add<AvgPoolForward, AvgPoolBackward>(list, "tiny", pool(1, 8, 24, 2, 2));
  add<AvgPoolForward, AvgPoolBackward>(list, "lenet_pool1", pool(256, 28, 6, 2, 2));
  add<AvgPoolForward, AvgPoolBackward>(list, "64_channels", pool(128, 56, 64, 2, 2));
  add<AdaptivePoolForward, AdaptivePoolBackward>(list, "tiny", {1, 5, 5, 24, 3, 3});
  add<AdaptivePoolForward, AdaptivePoolBackward>(list, "resnet18_224", {32, 7, 7, 512, 1, 1});
  add<AdaptivePoolForward, AdaptivePoolBackward>(list, "13_to_6", {128, 13, 13, 256, 6, 6});
}

}  // namespace striate::bench
