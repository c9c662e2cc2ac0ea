#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"
#include "engine/train/safetensors.h"

namespace striate::models {

/// An ONNX model as it is put together.
class OnnxGraph {
 public:
  using Integers = std::vector<std::pair<const char*, std::vector<int64_t>>>;
  using Integer = std::vector<std::pair<const char*, int64_t>>;
  using Floats = std::vector<std::pair<const char*, float>>;
  struct Attributes {
    Integers lists;
    Integer integers;
    Floats floats;
  };

  OnnxGraph();
  ~OnnxGraph();

  /// A node and its one output, both called `name`.
  void add_node(const std::string& name, const char* op, const std::vector<std::string>& inputs,
                const Attributes& attributes = {});
  /// A constant of float32; once under each name. Returns the name.
  std::string add_constant(const std::string& name, const Tensor& values);
  /// Behind a first dimension "batch".
  void set_input(const std::string& name, const Shape& shape);
  /// The value called `made` becomes the graph's output, under `name`.
  void set_output(const std::string& made, const std::string& name, const Shape& shape);
  /// The file's bytes.
  std::string serialize(const std::string& name, const Metadata& metadata) const;

 private:
  struct Model;
  std::unique_ptr<Model> model_;
};

}  // namespace striate::models
