#include "models/summary.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "engine/nn/layers.h"
#include "engine/storage.h"
#include "kernels/error.h"
#include "models/observed_forward.h"

namespace striate::models {
namespace {

constexpr int64_t kFloatBytes = 4;

int64_t bytes_of(const Tensor& t) { return t.size() * static_cast<int64_t>(size_of(t.dtype())); }

/// What one module's ops keep for their backward.
struct Kept {
  bool input = false, output = false;
  int64_t bytes_per_output = 0;  ///< of the op's own, such as max-pool's index
};

Kept kept_by(const std::string& type) {
  if (type == "Conv2d" || type == "Linear" || type == "BatchNorm2d" || type == "LocalResponseNorm")
    return {true, false};
  if (type == "ReLU" || type == "LeakyReLU" || type == "BasicBlock") return {false, true};
  if (type == "GELU" || type == "SiLU") return {true, false};
  if (type == "MaxPool2d") return {false, false, 1};
  return {};
}

std::string times(int64_t a, int64_t b) { return fmt::format("{}×{}", a, b); }
std::string one_or_two(int64_t a, int64_t b) { return a == b ? std::to_string(a) : times(a, b); }

std::string pool_form(const char* name, const ops::Pool2dOptions& o) {
  std::string text = fmt::format("{} {}", name, one_or_two(o.window_h, o.window_w));
  if (o.window_h != o.stride_h || o.window_w != o.stride_w)
    text += fmt::format("/{}", one_or_two(o.stride_h, o.stride_w));
  if (o.pad_h != 0 || o.pad_w != 0) text += fmt::format(" p{}", one_or_two(o.pad_h, o.pad_w));
  return text;
}

std::string conv_form(const nn::Conv2d& conv) {
  const nn::Conv2d::Options& o = conv.options();
  const ops::Conv2dOptions& g = o.geometry;
  std::string text = fmt::format("conv {}@{}", o.out_channels, times(o.kernel_h, o.kernel_w));
  if (g.stride_h != 1 || g.stride_w != 1) text += fmt::format(" s{}", one_or_two(g.stride_h, g.stride_w));
  if (g.pad_h != 0 || g.pad_w != 0) text += fmt::format(" p{}", one_or_two(g.pad_h, g.pad_w));
  if (g.dilation_h != 1 || g.dilation_w != 1) text += fmt::format(" d{}", one_or_two(g.dilation_h, g.dilation_w));
  if (g.groups != 1) text += fmt::format(" g{}", g.groups);
  return text;
}

std::string short_form(const nn::Module& module, const Shape& output) {
  if (const auto* conv = dynamic_cast<const nn::Conv2d*>(&module)) return conv_form(*conv);
  if (const auto* linear = dynamic_cast<const nn::Linear*>(&module)) {
    return fmt::format("fc {}→{}", linear->weight.dim(1), linear->weight.dim(0));
  }
  if (const auto* pool = dynamic_cast<const nn::MaxPool2d*>(&module)) return pool_form("pool", pool->options());
  if (const auto* pool = dynamic_cast<const nn::AvgPool2d*>(&module)) return pool_form("avgpool", pool->options());
  const std::string type = module.type();
  if (type == "AdaptiveAvgPool2d") return fmt::format("avgpool to {}", times(output[1], output[2]));
  if (type == "BatchNorm2d") return "batch norm";
  if (type == "LocalResponseNorm") return "local response norm";
  return type == "Dropout" ? "dropout" : "";
}

/// Collects the layers of one forward, and the bytes that its backward would find.
class Recorder : public nn::ForwardObserver {
 public:
  explicit Recorder(nn::Module& model) {
    for (const nn::NamedModule& named : model.named_modules()) names_[named.module] = named.name;
  }

  void observe(nn::Module& module, const Tensor& input, const Tensor& output) override {
    alive_.push_back(output);  // so that no address is used twice
    keep(module.type(), input, output);
    let_go(module.type(), input, output);
    if (!module.children().empty()) return;
    LayerSummary layer{names_[&module],
                       module.type(),
                       module.description(),
                       short_form(module, output.shape()),
                       output.shape(),
                       0,
                       module.macs(input.shape(), output.shape())};
    for (const NamedTensor& parameter : module.own_parameters()) {
      layer.parameters += parameter.tensor.size();
      if (const auto& rounded = parameter.tensor.impl()->storage->rounded) {
        rounded_bytes_ += static_cast<int64_t>(rounded->bytes());
      }
    }
    layers.push_back(std::move(layer));
    // The gradient of its output and that of its input; an activation's backward works in place.
    const bool in_place = dynamic_cast<const nn::ActivationLayer*>(&module) != nullptr;
    const int64_t gradients = (in_place ? 0 : input.size()) + output.size();
    const int64_t at_work = kept_bytes_ + gradients * static_cast<int64_t>(size_of(output.dtype()));
    if (after_relu_ == address(output)) {
      peak_after_relu_ = at_work;
    } else {
      peak_bytes_ = std::max(peak_bytes_, at_work);
    }
  }

  std::vector<LayerSummary> layers;
  int64_t kept_bytes() const { return kept_bytes_; }
  int64_t peak_bytes() const { return peak_bytes_; }
  int64_t rounded_bytes() const { return rounded_bytes_; }

 private:
  void keep(const std::string& type, const Tensor& input, const Tensor& output) {
    const Kept kept = kept_by(type);
    if (kept.input && input.dtype() != output.dtype()) {
      kept_bytes_ += input.size() * static_cast<int64_t>(size_of(output.dtype()));  // as the product rounded it
    } else if (kept.input) {
      keep_values(input);
    }
    // Dropout hands its input on in evaluation, but makes new values in training; those of a linear layer and its ReLU
    // are then never stored.
    if (type == "Dropout" && address(input) != after_linear_relu_) kept_.erase(address(output));
    if (type == "ReLU" && address(input) == after_linear_) after_linear_relu_ = address(output);
    if (type == "Linear") after_linear_ = address(output);
    if (kept.output) keep_values(output);
    kept_bytes_ += kept.bytes_per_output * output.size();
  }

  // A pool behind a ReLU takes the gradient through it; if it is the only use, the ReLU's output is not kept after all.
  void let_go(const std::string& type, const Tensor& input, const Tensor& output) {
    if (after_relu_ == address(input)) {
      if (type == "MaxPool2d") {
        kept_.erase(after_relu_);
        kept_bytes_ -= bytes_of(input);
      } else {
        peak_bytes_ = std::max(peak_bytes_, peak_after_relu_);
      }
      after_relu_ = nullptr;
    }
    if (type == "ReLU") after_relu_ = address(output);
  }

  void keep_values(const Tensor& values) {
    if (kept_.insert(address(values)).second) kept_bytes_ += bytes_of(values);
  }
  static const void* address(const Tensor& values) { return std::as_const(*values.impl()->storage).data(); }

  std::map<const nn::Module*, std::string> names_;
  std::set<const void*> kept_;
  std::vector<Tensor> alive_;
  const void* after_relu_ = nullptr;         // the last ReLU's output, until something uses it
  const void* after_linear_ = nullptr;       // the last linear layer's output
  const void* after_linear_relu_ = nullptr;  // that of a ReLU behind one
  int64_t kept_bytes_ = 0, peak_bytes_ = 0, peak_after_relu_ = 0, rounded_bytes_ = 0;
};

}  // namespace

std::string one_line(const ModelSummary& summary) {
  std::string line;
  bool first_linear = true;
  for (const LayerSummary& layer : summary.layers) {
    std::string form = layer.short_form;
    if (form.empty()) continue;
    if (layer.type == "Linear" && !std::exchange(first_linear, false)) {
      // What goes in is what came out of the linear layer before.
      constexpr size_t kPrefix = 3, kArrow = 3;  // "fc " and the bytes of "→"
      form.erase(kPrefix, form.find("→") + kArrow - kPrefix);
    }
    line += fmt::format("{}{}", line.empty() ? "" : ", ", form);
  }
  return line;
}

ModelSummary summarize(nn::Module& model, const Shape& input, int64_t batch) {
  require<ShapeError>(input.size() == 3 && batch > 0,
                      "summary: expected an input [H,W,C] and a positive batch, found {} and {}",
                      striate::to_string(input), batch);
  Recorder recorder(model);
  observed_forward(model, input, recorder);

  ModelSummary summary;
  summary.input = input;
  summary.batch = batch;
  summary.layers = std::move(recorder.layers);
  for (LayerSummary& layer : summary.layers) {
    layer.output[0] = batch;
    summary.macs += layer.macs;
  }
  summary.parameters = model.parameter_count();
  summary.activation_bytes = batch * recorder.kept_bytes();
  summary.training_bytes =
      3 * kFloatBytes * summary.parameters + recorder.rounded_bytes() + batch * recorder.peak_bytes();
  return summary;
}

}  // namespace striate::models
