#include "tests/models/weights/onnx_evaluator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>

#include "kernels/error.h"

namespace striate::test {
namespace {

Tensor constant(const onnx::TensorProto& proto) {
  require<Error>(proto.data_type() == onnx::TensorProto::FLOAT, "{}: not float", proto.name());
  Tensor tensor = Tensor::empty(Shape(proto.dims().begin(), proto.dims().end()));
  require<Error>(proto.raw_data().size() == tensor.bytes(), "{}: {} bytes", proto.name(), proto.raw_data().size());
  std::memcpy(tensor.data<float>(), proto.raw_data().data(), tensor.bytes());
  return tensor;
}

/// [N,C,H,W], read value by value.
struct Image {
  explicit Image(const Tensor& t) : values(t.data<float>()), N(t.dim(0)), C(t.dim(1)), H(t.dim(2)), W(t.dim(3)) {}
  float operator()(int64_t n, int64_t c, int64_t h, int64_t w) const { return values[((n * C + c) * H + h) * W + w]; }
  bool holds(int64_t h, int64_t w) const { return h >= 0 && w >= 0 && h < H && w < W; }
  const float* values;
  int64_t N, C, H, W;
};

/// One operator at work.
class Operator {
 public:
  Operator(const onnx::NodeProto& node, const std::map<std::string, Tensor>& values) : node_(node) {
    for (const std::string& name : node.input()) inputs_.push_back(values.at(name));
  }

  Tensor run() {
    const std::string& op = node_.op_type();
    if (op == "Conv") return conv();
    if (op == "Gemm") return gemm();
    if (op == "MatMul") return matmul();
    if (op == "BatchNormalization") return batch_norm();
    if (op == "MaxPool") return pool(true);
    if (op == "AveragePool") return pool(false);
    if (op == "GlobalAveragePool") return global_average();
    if (op == "LRN") return lrn();
    if (op == "Flatten") return in(0).reshape({in(0).dim(0), -1});
    if (op == "Add") return both([](float a, float b) { return a + b; });
    if (op == "Mul") return both([](float a, float b) { return a * b; });
    if (op == "Relu") return each([](float v) { return std::max(v, 0.0f); });
    if (op == "Sigmoid") return each([](float v) { return 1.0f / (1.0f + std::exp(-v)); });
    if (op == "Erf") return each([](float v) { return std::erf(v); });
    if (op == "LeakyRelu") {
      const float slope = number("alpha");
      return each([slope](float v) { return v < 0.0f ? slope * v : v; });
    }
    throw Error("no operator " + op);
  }

 private:
  const Tensor& in(size_t i) const { return inputs_.at(i); }

  const onnx::AttributeProto& attribute(const char* name) const {
    for (const onnx::AttributeProto& a : node_.attribute()) {
      if (a.name() == name) return a;
    }
    throw Error(fmt::format("{}: no attribute {}", node_.name(), name));
  }
  int64_t integer(const char* name) const { return attribute(name).i(); }
  float number(const char* name) const { return attribute(name).f(); }
  std::vector<int64_t> integers(const char* name, std::vector<int64_t> missing = {}) const {
    for (const onnx::AttributeProto& a : node_.attribute()) {
      if (a.name() == name) return {a.ints().begin(), a.ints().end()};
    }
    return missing;
  }

  static int64_t out_size(int64_t size, int64_t window, int64_t stride, int64_t padding) {
    return (size + padding - window) / stride + 1;
  }
  /// Fills an [N,C,H,W] tensor value by value.
  template <typename Value>
  static Tensor fill(const Shape& shape, Value value) {
    Tensor y = Tensor::empty(shape);
    float* next = y.data<float>();
    for (int64_t n = 0; n < shape[0]; ++n) {
      for (int64_t c = 0; c < shape[1]; ++c) {
        for (int64_t h = 0; h < shape[2]; ++h) {
          for (int64_t w = 0; w < shape[3]; ++w) *next++ = static_cast<float>(value(n, c, h, w));
        }
      }
    }
    return y;
  }

  Tensor conv() const {
    const Image x(in(0)), weight(in(1));
    const auto strides = integers("strides"), pads = integers("pads"), dilations = integers("dilations");
    const int64_t group = integer("group"), maps = weight.N / group, R = weight.H, S = weight.W;
    require<Error>(x.C == group * weight.C && integers("kernel_shape") == (std::vector<int64_t>{R, S}), "{}: shapes",
                   node_.name());
    const int64_t P = out_size(x.H, (R - 1) * dilations[0] + 1, strides[0], pads[0] + pads[2]);
    const int64_t Q = out_size(x.W, (S - 1) * dilations[1] + 1, strides[1], pads[1] + pads[3]);
    const float* bias = inputs_.size() > 2 ? in(2).data<float>() : nullptr;
    return fill({x.N, weight.N, P, Q}, [&](int64_t n, int64_t k, int64_t p, int64_t q) {
      double sum = bias != nullptr ? bias[k] : 0.0f;
      for (int64_t c = 0; c < weight.C; ++c) {
        for (int64_t r = 0; r < R; ++r) {
          for (int64_t s = 0; s < S; ++s) {
            const int64_t h = p * strides[0] - pads[0] + r * dilations[0];
            const int64_t w = q * strides[1] - pads[1] + s * dilations[1];
            if (x.holds(h, w)) sum += double{x(n, k / maps * weight.C + c, h, w)} * weight(k, c, r, s);
          }
        }
      }
      return sum;
    });
  }

  Tensor gemm() const {
    require<Error>(integer("transB") == 1, "{}: transB", node_.name());
    const int64_t rows = in(0).dim(0), inner = in(0).dim(1), columns = in(1).dim(0);
    require<Error>(in(1).dim(1) == inner, "{}: shapes", node_.name());
    const float *x = in(0).data<float>(), *weight = in(1).data<float>();
    const float* bias = inputs_.size() > 2 ? in(2).data<float>() : nullptr;
    return fill({rows, columns, 1, 1},
                [&](int64_t row, int64_t column, int64_t, int64_t) {
                  double sum = bias != nullptr ? bias[column] : 0.0f;
                  for (int64_t i = 0; i < inner; ++i) sum += double{x[row * inner + i]} * weight[column * inner + i];
                  return sum;
                })
        .reshape({rows, columns});
  }

  /// A matrix on one side, images on the other.
  Tensor matmul() const {
    const bool left = in(0).rank() == 2;
    const Tensor& matrix = left ? in(0) : in(1);
    const Image x(left ? in(1) : in(0));
    const float* entries = matrix.data<float>();
    const int64_t inner = matrix.dim(left ? 1 : 0), columns = matrix.dim(1);
    require<Error>((left ? x.H : x.W) == inner, "{}: shapes", node_.name());
    const Shape shape{x.N, x.C, left ? matrix.dim(0) : x.H, left ? x.W : columns};
    return fill(shape, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
      double sum = 0.0;
      for (int64_t i = 0; i < inner; ++i) {
        sum += left ? double{entries[h * inner + i]} * x(n, c, i, w) : double{entries[i * columns + w]} * x(n, c, h, i);
      }
      return sum;
    });
  }

  Tensor batch_norm() const {
    const Image x(in(0));
    const double epsilon = number("epsilon");
    const float *gamma = in(1).data<float>(), *beta = in(2).data<float>();
    const float *mean = in(3).data<float>(), *variance = in(4).data<float>();
    return fill(in(0).shape(), [&](int64_t n, int64_t c, int64_t h, int64_t w) {
      return (double{x(n, c, h, w)} - mean[c]) / std::sqrt(double{variance[c]} + epsilon) * gamma[c] + beta[c];
    });
  }

  Tensor pool(bool max) const {
    const Image x(in(0));
    const auto window = integers("kernel_shape"), strides = integers("strides"), pads = integers("pads", {0, 0, 0, 0});
    const bool padded = pads != std::vector<int64_t>{0, 0, 0, 0};
    require<Error>(max || !padded || integer("count_include_pad") == 1, "{}: padding", node_.name());
    const int64_t P = out_size(x.H, window[0], strides[0], pads[0] + pads[2]);
    const int64_t Q = out_size(x.W, window[1], strides[1], pads[1] + pads[3]);
    return fill({x.N, x.C, P, Q}, [&](int64_t n, int64_t c, int64_t p, int64_t q) {
      double sum = 0.0, most = -std::numeric_limits<double>::infinity();
      for (int64_t r = 0; r < window[0]; ++r) {
        for (int64_t s = 0; s < window[1]; ++s) {
          const int64_t h = p * strides[0] - pads[0] + r, w = q * strides[1] - pads[1] + s;
          if (!x.holds(h, w)) continue;
          sum += x(n, c, h, w);
          most = std::max(most, double{x(n, c, h, w)});
        }
      }
      return max ? most : sum / static_cast<double>(window[0] * window[1]);
    });
  }

  Tensor global_average() const {
    const Image x(in(0));
    return fill({x.N, x.C, 1, 1}, [&](int64_t n, int64_t c, int64_t, int64_t) {
      double sum = 0.0;
      for (int64_t h = 0; h < x.H; ++h) {
        for (int64_t w = 0; w < x.W; ++w) sum += x(n, c, h, w);
      }
      return sum / static_cast<double>(x.H * x.W);
    });
  }

  Tensor lrn() const {
    const Image x(in(0));
    const int64_t size = integer("size");
    const double alpha = number("alpha"), beta = number("beta"), bias = number("bias");
    return fill(in(0).shape(), [&](int64_t n, int64_t c, int64_t h, int64_t w) {
      double squares = 0.0;
      const int64_t first = std::max<int64_t>(0, c - (size - 1) / 2), last = std::min(x.C - 1, c + size / 2);
      for (int64_t i = first; i <= last; ++i) squares += double{x(n, i, h, w)} * x(n, i, h, w);
      return x(n, c, h, w) * std::pow(bias + alpha / static_cast<double>(size) * squares, -beta);
    });
  }

  Tensor each(const std::function<float(float)>& function) const {
    std::vector<float> values = in(0).to_vector<float>();
    for (float& v : values) v = function(v);
    return Tensor::from(values, in(0).shape());
  }

  /// Same shapes, or a scalar on the right.
  Tensor both(const std::function<float(float, float)>& function) const {
    std::vector<float> values = in(0).to_vector<float>();
    const std::vector<float> other = in(1).to_vector<float>();
    require<Error>(other.size() == 1 || in(0).shape() == in(1).shape(), "{}: shapes", node_.name());
    for (size_t i = 0; i < values.size(); ++i) values[i] = function(values[i], other[other.size() == 1 ? 0 : i]);
    return Tensor::from(values, in(0).shape());
  }

  const onnx::NodeProto& node_;
  std::vector<Tensor> inputs_;
};

}  // namespace

Tensor evaluate_onnx(const onnx::GraphProto& graph, const Tensor& input) {
  std::map<std::string, Tensor> values{{graph.input(0).name(), input}};
  for (const onnx::TensorProto& proto : graph.initializer()) values[proto.name()] = constant(proto);
  for (const onnx::NodeProto& node : graph.node()) values[node.output(0)] = Operator(node, values).run();
  return values.at(graph.output(0).name());
}

}  // namespace striate::test
