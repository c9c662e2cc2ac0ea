#include "models/weights/onnx_graph.h"

#include <set>

#include "engine/storage.h"
#include "kernels/error.h"
#include "onnx.pb.h"

namespace striate::models {
namespace {

constexpr int64_t kOpset = 17;
constexpr int64_t kIrVersion = 8;  // of onnx 1.12, which brought opset 17
// A protobuf message has less than 2 GiB; names and nodes take little of it.
constexpr size_t kMostBytes = 2'000'000'000;

void describe(onnx::ValueInfoProto& value, const std::string& name, const Shape& shape) {
  value.set_name(name);
  onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx::TensorProto::FLOAT);
  tensor.mutable_shape()->add_dim()->set_dim_param("batch");
  for (const int64_t size : shape) tensor.mutable_shape()->add_dim()->set_dim_value(size);
}

}  // namespace

struct OnnxGraph::Model {
  onnx::ModelProto proto;
  std::set<std::string> constants;
  size_t bytes = 0;
};

OnnxGraph::OnnxGraph() : model_(std::make_unique<Model>()) {}
OnnxGraph::~OnnxGraph() = default;

void OnnxGraph::add_node(const std::string& name, const char* op, const std::vector<std::string>& inputs,
                         const Attributes& attributes) {
  onnx::NodeProto& node = *model_->proto.mutable_graph()->add_node();
  node.set_name(name);
  node.set_op_type(op);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(name);
  const auto add = [&](const char* attribute_name, onnx::AttributeProto::AttributeType type) -> onnx::AttributeProto& {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(attribute_name);
    attribute.set_type(type);
    return attribute;
  };
  for (const auto& [key, values] : attributes.lists) {
    onnx::AttributeProto& attribute = add(key, onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute.add_ints(value);
  }
  for (const auto& [key, value] : attributes.integers) add(key, onnx::AttributeProto::INT).set_i(value);
  for (const auto& [key, value] : attributes.floats) add(key, onnx::AttributeProto::FLOAT).set_f(value);
}

std::string OnnxGraph::add_constant(const std::string& name, const Tensor& values) {
  if (!model_->constants.insert(name).second) return name;
  const Tensor host = values.detach().to(Device::cpu);
  model_->bytes += host.bytes();
  require<ConfigError>(model_->bytes <= kMostBytes,
                       "the weights take more than {} bytes, and an ONNX file holds less than 2 GiB of them",
                       kMostBytes);
  onnx::TensorProto& tensor = *model_->proto.mutable_graph()->add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t size : host.shape()) tensor.add_dims(size);
  tensor.set_raw_data(host.data<float>(), host.bytes());
  return name;
}

void OnnxGraph::set_input(const std::string& name, const Shape& shape) {
  describe(*model_->proto.mutable_graph()->add_input(), name, shape);
}

void OnnxGraph::set_output(const std::string& made, const std::string& name, const Shape& shape) {
  for (onnx::NodeProto& node : *model_->proto.mutable_graph()->mutable_node()) {
    for (std::string& value : *node.mutable_input()) {
      if (value == made) value = name;
    }
    for (std::string& value : *node.mutable_output()) {
      if (value == made) value = name;
    }
  }
  describe(*model_->proto.mutable_graph()->add_output(), name, shape);
}

std::string OnnxGraph::serialize(const std::string& name, const Metadata& metadata) const {
  onnx::ModelProto& model = model_->proto;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("striate");
  model.mutable_graph()->set_name(name);
  model.clear_opset_import();
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");  // ONNX's own operators
  opset.set_version(kOpset);
  model.clear_metadata_props();
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto& property = *model.add_metadata_props();
    property.set_key(key);
    property.set_value(value);
  }
  return model.SerializeAsString();
}

}  // namespace striate::models
