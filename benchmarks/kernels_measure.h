#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/kernels_side.h"
#include "engine/device.h"
#include "kernels/shapes.h"

// A kernel's template on T, the type of what flows through the network:
//   Shape                  what it is made from
//   kOp, kPass, kMoved     its name, and what bytes(shape) counts: each byte that must move, once. Where a pass needs a
//                          result over all of its input before it can write (batch_norm), the input moves twice.
//   macs(shape)            products alone: the multiply–adds, without those on padding
//   Kernel(side, shape)    with operands where that side's kernels reach them
//   run(), results()
//   part(shape)            where part_of(shape) is not what the check wants
//   kCpuOnly               where the GPU has no such kernel
//   prepare_check()        products alone: operands that every precision multiplies exactly, and whose images after the
//                          first do not count, so that the whole batch, which decides how it is computed, agrees with
//                          the reference of one image
namespace striate::bench {

/// A kernel with operands of its own.
class Work {
 public:
  virtual ~Work() = default;
  virtual void prepare_check() = 0;
  virtual void run() = 0;
  virtual Results results() const = 0;
};

/// What is measured: a kernel, a shape, a precision.
struct KernelRow {
  std::string op, shape, pass;
  const char* moved = "";
  Precision precision = Precision::fp32;
  double bytes = 0.0;
  double flops = 0.0;  ///< 0: bound by memory
  double tolerance = 0.0;
  std::string library;  ///< cudnn or cublas, where it has the kernel and this build has the library
  std::function<std::unique_ptr<Work>(Side)> make, make_checked, make_expected;

  /// "conv2d/alexnet_conv2/forward/fp32/cuda/own"
  std::string name(Side side) const;
};

/// The kernels of a device, added by the functions below.
struct KernelList {
  Device device = Device::cpu;
  bool tiny = false;  ///< the shapes called tiny, for the check; otherwise all but these
  std::vector<KernelRow> rows;
};

void add_convolutions(KernelList& list);
void add_linears(KernelList& list);
void add_pooling(KernelList& list);
void add_normalization(KernelList& list);
void add_losses(KernelList& list);
void add_elementwise(KernelList& list);
void add_optimizers(KernelList& list);
void add_images(KernelList& list);

/// Runs the kernels whose names hold the pattern once each and prints which agree with the reference. Returns how many
/// do not.
int check_kernels(const KernelList& list, const std::string& pattern);

/// What a device reaches at most, by kernels that do nothing else, a second.
struct Peaks {
  double fp32 = 0.0, tf32 = 0.0, bf16 = 0.0;  ///< multiply–adds, 2 flops each; 0 where it has no instructions for them
  double copy = 0.0;                          ///< bytes read and written

  /// Of that precision, or where there are no instructions for it of float32, which it is then computed with.
  double flops(Precision precision) const {
    const double own = precision == Precision::tf32 ? tf32 : precision == Precision::bf16 ? bf16 : fp32;
    return own > 0.0 ? own : fp32;
  }
};

/// Registers each with Google Benchmark: checked first, then timed.
void register_kernels(const KernelList& list, const Peaks& peaks);
/// Whether a kernel that was to be timed differed from the reference.
bool any_differed();

/// Elementwise kernels: a shape is a number of values.
struct Values {
  int64_t size;
};

constexpr double kBf16Tolerance = 1.0 / 128;  // sums in another order may be rounded to the other neighbour
constexpr double kFloatTolerance = 2e-5;      // of the greatest value: Winograd's transforms, sums in another order

/// Of T, each once.
template <typename T>
double bytes_of(int64_t count) {
  return static_cast<double>(sizeof(T)) * static_cast<double>(count);
}

/// Small enough for the reference.
inline Values part_of(Values s) { return {std::min<int64_t>(s.size, 10007)}; }
template <typename Shape>
Shape part_of(Shape s) {
  if constexpr (requires { s.N; }) {
    s.N = std::min<int64_t>(
        s.N, requires { s.classes; } ? 5 : 1);
  } else {
    s.rows = std::min<int64_t>(s.rows, 1009);
  }
  return s;
}

template <typename Kernel>
class WorkOf : public Work {
 public:
  WorkOf(Side side, Precision precision, const typename Kernel::Shape& shape)
      : context_(side_context(side, precision)), precision_(precision), kernel_(side, shape, context_) {}
  void prepare_check() override {
    if constexpr (requires { kernel_.prepare_check(); }) kernel_.prepare_check();
  }
  void run() override {
    context_.precision = precision_;
    kernel_.run();
  }
  Results results() const override { return kernel_.results(); }

 private:
  Context& context_;
  Precision precision_;
  Kernel kernel_;
};

template <typename Kernel>
void add_row(KernelList& list, const std::string& shape_name, const typename Kernel::Shape& shape,
             Precision precision) {
  if (list.tiny != (shape_name == "tiny")) return;
  constexpr bool is_product = requires { Kernel::macs(shape); };
  constexpr bool cpu_only = requires { Kernel::kCpuOnly; };
  if (cpu_only && list.device != Device::cpu) return;
  KernelRow row;
  row.op = Kernel::kOp;
  row.shape = shape_name;
  row.pass = Kernel::kPass;
  row.moved = Kernel::kMoved;
  row.precision = precision;
  row.bytes = Kernel::bytes(shape);
  row.tolerance = precision == Precision::bf16 ? kBf16Tolerance : kFloatTolerance;
  auto checked = part_of(shape);
  if constexpr (is_product) {
    row.flops = 2.0 * Kernel::macs(shape);
    checked = shape;
    if (list.device == Device::cuda) row.library = Kernel::library(precision);
  }
  if constexpr (requires { Kernel::part(shape); }) checked = Kernel::part(shape);
  const auto maker = [precision](const typename Kernel::Shape& s) {
    return [precision, s](Side side) -> std::unique_ptr<Work> {
      return std::make_unique<WorkOf<Kernel>>(side, precision, s);
    };
  };
  row.make = maker(shape);
  row.make_checked = maker(checked);
  row.make_expected = maker(is_product ? part_of(shape) : checked);
  list.rows.push_back(std::move(row));
}

/// In every precision that the device computes it with.
template <template <typename> class Kernel>
void add(KernelList& list, const std::string& shape_name, const typename Kernel<float>::Shape& shape) {
  add_row<Kernel<float>>(list, shape_name, shape, Precision::fp32);
  if constexpr (requires { Kernel<float>::macs(shape); }) {
    if (list.device == Device::cuda) add_row<Kernel<float>>(list, shape_name, shape, Precision::tf32);
  }
  add_row<Kernel<bfloat16>>(list, shape_name, shape, Precision::bf16);
}

template <template <typename> class Forward, template <typename> class Backward>
void add(KernelList& list, const std::string& shape_name, const typename Forward<float>::Shape& shape) {
  add<Forward>(list, shape_name, shape);
  add<Backward>(list, shape_name, shape);
}

}  // namespace striate::bench
