// Maps over runs of values: activations, sums, conversions, dropout.
#include "benchmarks/kernels_measure.h"
#include "kernels/activation/activation.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"

namespace striate::bench {
namespace {

/// The two operands and the result of a map.
template <typename T>
struct Map {
  using Shape = Values;
  Side side;
  int64_t n;
  Context& context;
  Operand<T> a, b, y;
  Map(Side on, const Shape& s, Context& c, bool has_b)
      : side(on), n(s.size), context(c), a(on, n, 1), b(on, has_b ? n : 1, 2), y(on, n) {}
  Results results() const { return results_of(y); }
};

template <typename T, Activation activation>
struct ActivationForward : Map<T> {
  static constexpr const char* kOp = activation == Activation::relu ? "relu" : "gelu";
  static constexpr const char *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Values& s) { return bytes_of<T>(2 * s.size); }
  ActivationForward(Side on, const Values& s, Context& c) : Map<T>(on, s, c, false) {}
  void run() {
    choose(this->side, reference::activation_forward<T>, cpu::activation_forward<T>, cuda::activation_forward<T>)(
        activation, this->a, this->y, this->n, this->context);
  }
};

template <typename T, Activation activation>
struct ActivationBackward : Map<T> {
  static constexpr const char* kOp = activation == Activation::relu ? "relu" : "gelu";
  static constexpr const char *kPass = "backward", *kMoved = "what was saved + dy + dx";
  static double bytes(const Values& s) { return bytes_of<T>(3 * s.size); }
  ActivationBackward(Side on, const Values& s, Context& c) : Map<T>(on, s, c, true) {}
  void run() {
    choose(this->side, reference::activation_backward<T>, cpu::activation_backward<T>, cuda::activation_backward<T>)(
        activation, this->a, this->b, this->y, this->n, this->context);
  }
};

template <typename T>
using ReluForward = ActivationForward<T, Activation::relu>;
template <typename T>
using ReluBackward = ActivationBackward<T, Activation::relu>;
template <typename T>
using GeluForward = ActivationForward<T, Activation::gelu>;
template <typename T>
using GeluBackward = ActivationBackward<T, Activation::gelu>;

template <typename T, Activation activation>
struct Sum : Map<T> {
  static constexpr const char* kOp = activation == Activation::relu ? "add_relu" : "add";
  static constexpr const char *kPass = "forward", *kMoved = "a + b + y";
  static double bytes(const Values& s) { return bytes_of<T>(3 * s.size); }
  Sum(Side on, const Values& s, Context& c) : Map<T>(on, s, c, true) {}
  void run() {
    choose(this->side, reference::add<T>, cpu::add<T>, cuda::add<T>)(this->a, this->b, this->y, this->n, activation,
                                                                     this->context);
  }
};

template <typename T>
using Add = Sum<T, Activation::none>;
template <typename T>
using AddRelu = Sum<T, Activation::relu>;

template <typename T>
struct AccumulateInto : Map<T> {
  static constexpr const char *kOp = "accumulate", *kPass = "forward", *kMoved = "x + y read + y";
  static double bytes(const Values& s) { return bytes_of<T>(3 * s.size); }
  AccumulateInto(Side on, const Values& s, Context& c) : Map<T>(on, s, c, false) { this->y.fill(2); }
  void run() {
    choose(this->side, reference::accumulate<T>, cpu::accumulate<T>, cuda::accumulate<T>)(this->a, this->y, this->n,
                                                                                          this->context);
  }
};

template <typename T>
struct Scale : Map<T> {
  static constexpr const char *kOp = "scale", *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Values& s) { return bytes_of<T>(2 * s.size); }
  Scale(Side on, const Values& s, Context& c) : Map<T>(on, s, c, false) {}
  void run() {
    choose(this->side, reference::scale<T>, cpu::scale<T>, cuda::scale<T>)(this->a, this->y, 1.7f, this->n,
                                                                           this->context);
  }
};

template <typename T>
struct Fill : Map<T> {
  static constexpr const char *kOp = "fill", *kPass = "forward", *kMoved = "y";
  static double bytes(const Values& s) { return bytes_of<T>(s.size); }
  Fill(Side on, const Values& s, Context& c) : Map<T>(on, s, c, false) {}
  void run() {
    choose(this->side, reference::fill<T>, cpu::fill<T>, cuda::fill<T>)(this->y, 1.7f, this->n, this->context);
  }
};

/// Between the two precisions.
template <typename From, typename To>
struct Convert {
  using Shape = Values;
  static constexpr const char* kOp = std::is_same_v<From, float> ? "float_to_bf16" : "bf16_to_float";
  static constexpr const char *kPass = "forward", *kMoved = "x + y (2 bytes a value and 4)";
  static double bytes(const Shape& s) { return 6.0 * static_cast<double>(s.size); }
  Side side;
  Context& context;
  Operand<From> x;
  Operand<To> y;
  Convert(Side on, const Shape& s, Context& c) : side(on), context(c), x(on, s.size, 1), y(on, s.size) {}
  void run() {
    if constexpr (std::is_same_v<From, float>) {
      choose(side, reference::float_to_bf16, cpu::float_to_bf16, cuda::float_to_bf16)(x, y, x.size(), context);
    } else {
      choose(side, reference::bf16_to_float, cpu::bf16_to_float, cuda::bf16_to_float)(x, y, x.size(), context);
    }
  }
  Results results() const { return results_of(y); }
};

template <typename T, bool backward>
struct Dropout {
  using Shape = DropoutShape;
  static constexpr const char *kOp = "dropout", *kPass = backward ? "backward" : "forward", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  Operand<DropoutState> state;
  Dropout(Side on, const Shape& s, Context& c)
      : side(on),
        shape(s),
        context(c),
        x(on, s.size(), 1),
        y(on, s.size()),
        state(on, Lines<DropoutState>{{7, 11, 3}}) {}
  void run() {
    if constexpr (backward) {
      choose(side, reference::dropout_backward<T>, cpu::dropout_backward<T>, cuda::dropout_backward<T>)(x, y, shape,
                                                                                                        state, context);
    } else {
      choose(side, reference::dropout_forward<T>, cpu::dropout_forward<T>, cuda::dropout_forward<T>)(x, y, shape, state,
                                                                                                     context);
    }
  }
  Results results() const { return results_of(y); }
};

template <typename T>
using DropoutForward = Dropout<T, false>;
template <typename T>
using DropoutBackward = Dropout<T, true>;

template <typename T, bool to_blocks>
struct ColumnBlocks {
  using Shape = ColumnBlocksShape;
  static constexpr const char* kOp = to_blocks ? "columns_to_blocks" : "blocks_to_columns";
  static constexpr const char *kPass = "forward", *kMoved = "x + y";
  static double bytes(const Shape& s) { return bytes_of<T>(2 * s.size()); }
  Side side;
  Shape shape;
  Context& context;
  Operand<T> x, y;
  ColumnBlocks(Side on, const Shape& s, Context& c)
      : side(on), shape(s), context(c), x(on, s.size(), 1), y(on, s.size()) {}
  void run() {
    if constexpr (to_blocks) {
      choose(side, reference::columns_to_blocks<T>, cpu::columns_to_blocks<T>, cuda::columns_to_blocks<T>)(x, y, shape,
                                                                                                           context);
    } else {
      choose(side, reference::blocks_to_columns<T>, cpu::blocks_to_columns<T>, cuda::blocks_to_columns<T>)(x, y, shape,
                                                                                                           context);
    }
  }
  Results results() const { return results_of(y); }
};

template <typename T>
using ColumnsToBlocks = ColumnBlocks<T, true>;
template <typename T>
using BlocksToColumns = ColumnBlocks<T, false>;

}  // namespace

void add_elementwise(KernelList& list) {
  for (const auto& [name, size] :
       {std::pair{"tiny", Values{2051}}, std::pair{"alexnet_conv1", Values{128 * 55 * 55 * 64}}}) {
    add<ReluForward, ReluBackward>(list, name, size);
    add<GeluForward, GeluBackward>(list, name, size);
    add<Add, AddRelu>(list, name, size);
    add<AccumulateInto>(list, name, size);
    add<Scale, Fill>(list, name, size);
    add_row<Convert<float, bfloat16>>(list, name, size, Precision::bf16);
    add_row<Convert<bfloat16, float>>(list, name, size, Precision::bf16);
  }
  add<DropoutForward, DropoutBackward>(list, "tiny", {3, 342, 0.5f, 1});
  add<DropoutForward, DropoutBackward>(list, "alexnet_fc6", {128, 9216, 0.5f, 1});
  add<DropoutForward, DropoutBackward>(list, "16_million", {4096, 4096, 0.5f, 1});
  for (const auto& [name, shape] : {std::pair{"tiny", ColumnBlocksShape{7, 10, 3}},
                                    std::pair{"alexnet_fc6_of_4_ranks", ColumnBlocksShape{128, 4096, 4}},
                                    std::pair{"16_million", ColumnBlocksShape{4096, 4096, 8}}}) {
    add<ColumnsToBlocks, BlocksToColumns>(list, name, shape);
  }
}

}  // namespace striate::bench
