// Convolutions, forward and both backwards.
#include "benchmarks/kernels_measure.h"
#include "kernels/conv2d/conv2d.h"

namespace striate::bench {
namespace {

/// cuDNN's convolutions know no bfloat16 with gradients of float32.
const char* library_of(Precision precision) {
  return precision != Precision::bf16 && cudnn::missing().empty() ? "cudnn" : "";
}

template <typename T>
struct Conv2dForward {
  using Shape = Conv2dShape;
  static constexpr const char *kOp = "conv2d", *kPass = "forward", *kMoved = "x + w + y";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.w_size() + s.y_size()); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision precision) { return library_of(precision); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, w;
  Operand<float> b;
  Operand<T> y;
  Conv2dForward(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.x_size(), 1), w(on, s.w_size(), 2), b(on, s.K, 3), y(on, s.y_size()) {}
  void prepare_check() { x.fill(1, true), w.fill(2, true), b.fill(3, true); }
  void run() {
    choose(side, reference::conv2d_forward<T>, cpu::conv2d_forward<T>, cuda::conv2d_forward<T>,
           cudnn::conv2d_forward<T>)(x, w, b, y, shape, Activation::relu, context);
  }
  Results results() const { return results_of(y); }
};

template <typename T>
struct Conv2dBackwardData {
  using Shape = Conv2dShape;
  static constexpr const char *kOp = "conv2d", *kPass = "backward_data", *kMoved = "dy + w + dx";
  static double bytes(const Shape& s) { return Conv2dForward<T>::bytes(s); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision precision) { return library_of(precision); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> dy, w, dx;
  Conv2dBackwardData(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), dy(on, s.y_size(), 1), w(on, s.w_size(), 2), dx(on, s.x_size()) {}
  void prepare_check() { dy.fill(1, true), w.fill(2, true); }
  void run() {
    choose(side, reference::conv2d_backward_data<T>, cpu::conv2d_backward_data<T>, cuda::conv2d_backward_data<T>,
           cudnn::conv2d_backward_data<T>)(dy, w, dx, shape, context);
  }
  Results results() const { return results_of(dx); }
};

template <typename T>
struct Conv2dBackwardWeight {
  using Shape = Conv2dShape;
  static constexpr const char *kOp = "conv2d", *kPass = "backward_weight", *kMoved = "x + dy + dw";
  static double bytes(const Shape& s) { return bytes_of<T>(s.x_size() + s.y_size()) + bytes_of<float>(s.w_size()); }
  static double macs(const Shape& s) { return static_cast<double>(s.macs()); }
  static std::string library(Precision precision) { return library_of(precision); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, dy;
  Operand<float> dw, db;
  Conv2dBackwardWeight(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.x_size(), 1), dy(on, s.y_size(), 2), dw(on, s.w_size()), db(on, s.K) {}
  void prepare_check() { x.fill(1, true), dy.fill(2, true, shape.P() * shape.Q() * shape.K); }
  void run() {
    choose(side, reference::conv2d_backward_weight<T>, cpu::conv2d_backward_weight<T>, cuda::conv2d_backward_weight<T>,
           cudnn::conv2d_backward_weight<T>)(x, dy, dw, db, shape, Accumulate::no, context);
  }
  Results results() const { return results_of(dw, db); }
};

void add_shape(KernelList& list, const std::string& name, int64_t batch, int64_t size, int64_t C, int64_t K,
               int64_t kernel, int64_t stride, int64_t pad, int64_t groups = 1) {
  const Conv2dShape shape{batch, size, size, C, K, kernel, kernel, stride, stride, pad, pad, 1, 1, groups};
  add<Conv2dForward>(list, name, shape);
  if (C > 3) add<Conv2dBackwardData>(list, name, shape);  // which training never asks the first layer for
  add<Conv2dBackwardWeight>(list, name, shape);
}

}  // namespace

void add_convolutions(KernelList& list) {
  add_shape(list, "tiny", 2, 6, 16, 24, 3, 1, 1);
  add_shape(list, "alexnet_mini_conv1_grey", 128, 32, 1, 32, 5, 1, 2);
  add_shape(list, "alexnet_mini_conv1", 128, 32, 3, 32, 5, 1, 2);
  add_shape(list, "alexnet_mini_conv2", 128, 16, 32, 64, 3, 1, 1);
  add_shape(list, "alexnet_cifar_conv1", 256, 32, 3, 64, 3, 2, 1);
  add_shape(list, "alexnet_cifar_conv2", 256, 8, 64, 192, 3, 1, 1);
  add_shape(list, "alexnet_cifar_conv3", 256, 4, 192, 384, 3, 1, 1);
  add_shape(list, "alexnet_cifar_conv4", 256, 4, 384, 256, 3, 1, 1);
  add_shape(list, "alexnet_cifar_conv5", 256, 4, 256, 256, 3, 1, 1);
  for (const int64_t batch : {32, 1, 128}) {
    const std::string suffix = batch == 32 ? "" : fmt::format("_batch_{}", batch);
    add_shape(list, "alexnet_conv1" + suffix, batch, 224, 3, 64, 11, 4, 2);
    add_shape(list, "alexnet_conv2" + suffix, batch, 27, 64, 192, 5, 1, 2);
    add_shape(list, "alexnet_conv3" + suffix, batch, 13, 192, 384, 3, 1, 1);
    add_shape(list, "alexnet_conv4" + suffix, batch, 13, 384, 256, 3, 1, 1);
    add_shape(list, "alexnet_conv5" + suffix, batch, 13, 256, 256, 3, 1, 1);
  }
  add_shape(list, "alexnet_paper_conv2", 32, 27, 96, 256, 5, 1, 2, 2);
  for (int64_t size = 56, channels = 64; channels <= 512; size /= 2, channels *= 2) {
    add_shape(list, fmt::format("resnet18_maps_of_{}", size), 32, size, channels, channels, 3, 1, 1);
  }
  for (int64_t size = 32, channels = 64; channels <= 512; size /= 2, channels *= 2) {
    add_shape(list, fmt::format("resnet18_cifar_maps_of_{}", size), 128, size, channels, channels, 3, 1, 1);
  }
}

}  // namespace striate::bench
