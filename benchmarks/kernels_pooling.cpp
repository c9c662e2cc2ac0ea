// Pooling, forward and backward.
#include "benchmarks/kernels_memory.h"
#include "kernels/pool2d/pool2d.h"

namespace striate::bench {
namespace {

Context& context() { return machine().context; }

struct MaxPool {
  using Shape = Pool2dShape;
  Shape shape;
  Floats x, y, dy, dx;
  Lines<uint8_t> index;

  explicit MaxPool(const Shape& s)
      : shape(s),
        x(values(s.x_size(), 1)),
        y(s.y_size()),
        dy(values(s.y_size(), 2)),
        dx(s.x_size()),
        index(s.y_size()) {
    cpu::max_pool2d_forward(x.data(), y.data(), index.data(), s, context());
  }
  static Shape part(Shape s) {
    s.N = 1;
    return s;
  }
};

struct MaxPoolForward : MaxPool {
  static constexpr const char* kName = "max_pool_forward";
  static constexpr const char* kMoved = "x + y + index";
  static double bytes(const Shape& s) { return floats(s.x_size() + s.y_size()) + static_cast<double>(s.y_size()); }
  using MaxPool::MaxPool;
  void run() { cpu::max_pool2d_forward(x.data(), y.data(), index.data(), shape, context()); }
  bool agrees() {
    Floats expected(y.size());
    Lines<uint8_t> expected_index(index.size());
    reference::max_pool2d_forward(x.data(), expected.data(), expected_index.data(), shape, context());
    return y == expected && index == expected_index;
  }
};

struct MaxPoolBackward : MaxPool {
  static constexpr const char* kName = "max_pool_backward";
  static constexpr const char* kMoved = "dy + index + dx";
  static double bytes(const Shape& s) { return MaxPoolForward::bytes(s); }
  using MaxPool::MaxPool;
  void run() { cpu::max_pool2d_backward(dy.data(), index.data(), dx.data(), shape, context()); }
  bool agrees() {
    Floats expected(dx.size());
    reference::max_pool2d_backward(dy.data(), index.data(), expected.data(), shape, context());
    return close(dx, expected);
  }
};

struct AvgPoolForward {
  using Shape = Pool2dShape;
  static constexpr const char* kName = "avg_pool_forward";
  static constexpr const char* kMoved = "x + y";
  static double bytes(const Shape& s) { return floats(s.x_size() + s.y_size()); }
  static Shape part(const Shape& s) { return MaxPool::part(s); }
  Shape shape;
  Floats x, y;
  explicit AvgPoolForward(const Shape& s) : shape(s), x(values(s.x_size(), 1)), y(s.y_size()) {}
  void run() { cpu::avg_pool2d_forward(x.data(), y.data(), shape, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::avg_pool2d_forward(x.data(), expected.data(), shape, context());
    return close(y, expected);
  }
};

struct AvgPoolBackward {
  using Shape = Pool2dShape;
  static constexpr const char* kName = "avg_pool_backward";
  static constexpr const char* kMoved = "dy + dx";
  static double bytes(const Shape& s) { return floats(s.x_size() + s.y_size()); }
  static Shape part(const Shape& s) { return MaxPool::part(s); }
  Shape shape;
  Floats dy, dx;
  explicit AvgPoolBackward(const Shape& s) : shape(s), dy(values(s.y_size(), 1)), dx(s.x_size()) {}
  void run() { cpu::avg_pool2d_backward(dy.data(), dx.data(), shape, context()); }
  bool agrees() {
    Floats expected(dx.size());
    reference::avg_pool2d_backward(dy.data(), expected.data(), shape, context());
    return close(dx, expected);
  }
};

struct AdaptivePoolForward {
  using Shape = AdaptivePool2dShape;
  static constexpr const char* kName = "adaptive_avg_pool_forward";
  static constexpr const char* kMoved = "x + y";
  static double bytes(const Shape& s) { return floats(s.N * s.C * (s.H * s.W + s.P * s.Q)); }
  static Shape part(Shape s) {
    s.N = 1;
    return s;
  }
  Shape shape;
  Floats x, y;
  explicit AdaptivePoolForward(const Shape& s)
      : shape(s), x(values(s.N * s.H * s.W * s.C, 1)), y(s.N * s.P * s.Q * s.C) {}
  void run() { cpu::adaptive_avg_pool2d_forward(x.data(), y.data(), shape, context()); }
  bool agrees() {
    Floats expected(y.size());
    reference::adaptive_avg_pool2d_forward(x.data(), expected.data(), shape, context());
    return close(y, expected);
  }
};

struct AdaptivePoolBackward {
  using Shape = AdaptivePool2dShape;
  static constexpr const char* kName = "adaptive_avg_pool_backward";
  static constexpr const char* kMoved = "dy + dx";
  static double bytes(const Shape& s) { return AdaptivePoolForward::bytes(s); }
  static Shape part(const Shape& s) { return AdaptivePoolForward::part(s); }
  Shape shape;
  Floats dy, dx;
  explicit AdaptivePoolBackward(const Shape& s)
      : shape(s), dy(values(s.N * s.P * s.Q * s.C, 1)), dx(s.N * s.H * s.W * s.C) {}
  void run() { cpu::adaptive_avg_pool2d_backward(dy.data(), dx.data(), shape, context()); }
  bool agrees() {
    Floats expected(dx.size());
    reference::adaptive_avg_pool2d_backward(dy.data(), expected.data(), shape, context());
    return close(dx, expected);
  }
};

Pool2dShape pool(int64_t N, int64_t size, int64_t C, int64_t window, int64_t stride, int64_t pad = 0) {
  return {N, size, size, C, window, window, stride, stride, pad, pad};
}

}  // namespace

void add_pooling() {
  add_rows<MaxPoolForward, MaxPoolBackward>("alexnet_pool1", pool(128, 55, 64, 3, 2));
  add_rows<MaxPoolForward, MaxPoolBackward>("alexnet_pool2", pool(128, 27, 192, 3, 2));
  add_rows<MaxPoolForward, MaxPoolBackward>("alexnet_pool5", pool(128, 13, 256, 3, 2));
  add_rows<MaxPoolForward, MaxPoolBackward>("resnet18_stem", pool(32, 112, 64, 3, 2, 1));
  add_rows<MaxPoolForward, MaxPoolBackward>("alexnet_mini_pool1", pool(256, 32, 32, 2, 2));
  add_rows<AvgPoolForward, AvgPoolBackward>("lenet_pool1", pool(256, 28, 6, 2, 2));
  add_rows<AvgPoolForward, AvgPoolBackward>("64_channels", pool(128, 56, 64, 2, 2));
  add_rows<AdaptivePoolForward, AdaptivePoolBackward>("resnet18_224", {32, 7, 7, 512, 1, 1});
  add_rows<AdaptivePoolForward, AdaptivePoolBackward>("13_to_6", {128, 13, 13, 256, 6, 6});
}

}  // namespace striate::bench
