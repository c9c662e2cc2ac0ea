#include <fmt/format.h>

#include <cmath>

#include "engine/train/evaluate.h"
#include "engine/train/interrupt.h"
#include "kernels/error.h"
#include "models/classifier.h"
#include "tools/experiments/embedding_figure.h"
#include "tools/experiments/number_text.h"
#include "tools/experiments/pca.h"
#include "tools/experiments/tsne.h"
#include "tools/progress_line.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/image_source.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

struct Flags {
  ImageFlags image;
  std::string layer, output;
  int64_t count = 2000, iterations = 1000;
  double perplexity = 30.0;
};

/// What the images are told apart by: a layer's output, the logits, or what the network's last part sees.
class Features : public nn::ForwardObserver {
 public:
  Features(nn::Module& model, const std::string& layer) {
    if (layer == "logits") {
      module_ = &model;
      name_ = "logits";
    } else if (!layer.empty()) {
      module_ = &model.find(layer);
      name_ = layer;
    } else {
      // The input of the part that classifies: a Classifier's last child.
      require<ConfigError>(!model.children().empty(), "--layer NAME is needed: the network has no parts");
      module_ = model.children().back().second.get();
      input_ = dynamic_cast<models::Classifier*>(&model) != nullptr;
      name_ = "features";
    }
  }
  void observe(nn::Module& module, const Tensor& input, const Tensor& output) override {
    if (&module == module_) seen_ = input_ ? input : output;
  }
  const std::string& name() const { return name_; }

  void add(const Batch& batch, int64_t images) {
    require<Error>(seen_.defined(), "--layer {}: it takes no part in the network's forward", name_);
    const Tensor values = seen_.to(DType::float32).to(Device::cpu);
    dimensions_ = values.size() / values.dim(0);
    constexpr int64_t kMost = int64_t{1} << 28;  // a gibibyte of floats
    require<ConfigError>(images <= kMost / dimensions_,
                         "--layer {}: {} images of {} values are more than 1 GiB; --count {} or a later layer will do",
                         name_, images, grouped(dimensions_), kMost / dimensions_);
    values_.insert(values_.end(), values.data<float>(), values.data<float>() + values.size());
    const int32_t* labels = batch.labels.data<int32_t>();
    labels_.insert(labels_.end(), labels, labels + batch.labels.size());
  }
  const std::vector<float>& values() const { return values_; }
  const std::vector<int32_t>& labels() const { return labels_; }
  int64_t dimensions() const { return dimensions_; }

 private:
  const nn::Module* module_ = nullptr;
  bool input_ = false;
  std::string name_;
  Tensor seen_;
  std::vector<float> values_;
  std::vector<int32_t> labels_;
  int64_t dimensions_ = 0;
};

/// The first two of `components` columns; a second of zeros where there is one only.
std::vector<float> plane_of(const PrincipalComponents& pca) {
  std::vector<float> plane;
  for (int64_t i = 0; i < pca.points; ++i) {
    for (int64_t k = 0; k < 2; ++k) {
      plane.push_back(k < pca.components ? pca.scores[static_cast<size_t>(i * pca.components + k)] : 0.0f);
    }
  }
  return plane;
}

std::string axis(const PrincipalComponents& pca, size_t k) {
  const double share = k < pca.explained.size() ? 100.0 * pca.explained[k] : 0.0;
  return fmt::format("Principal component {} ({:.1f} % of the variance)", k + 1, share);
}

}  // namespace

int embedding(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws what a network makes of a part of the dataset in a plane, an image a point: principal components (PCA), "
      "and t-SNE, which keeps neighbours together.",
      {"--run runs/quickstart", "--run runs/quickstart --layer logits --count 5000",
       "--run runs/quickstart --layer features.5 --perplexity 50 --seed 1 --output conv2.svg"});
  Flags flags;
  flags.image.add_to(command_line, false);
  command_line
      .option("--layer", flags.layer, "NAME",
              "A layer's output (inspect lists them), or logits (default: the features that the last part sees)")
      .option("--count", flags.count, "N", "Images, drawn by the seed (default 2000; 0: all)")
      .option("--perplexity", flags.perplexity, "P", "Of t-SNE: about how many neighbours count (default 30)")
      .option("--iterations", flags.iterations, "N", "Of t-SNE (default 1000)")
      .option("--output", flags.output, "F", "PNG or SVG (default embedding_PART.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  require_between("--count", flags.count, 0, 1'000'000);
  require_between("--iterations", flags.iterations, 1, 100'000);
  require<ConfigError>(flags.perplexity >= 1.0 && flags.perplexity <= 1000.0, "--perplexity {}: expected 1 to 1000",
                       flags.perplexity);

  ImageSource source(flags.image);
  const auto file = figure_file(flags.output, source.network().run, fmt::format("embedding_{}.png", flags.image.split));
  Features features(source.model(), flags.layer);
  Loader& loader = source.loader(flags.count);
  const InterruptGuard guard;
  EvaluateOptions options;
  options.progress = progress_line("reading features");
  options.on_batch = [&](const Batch& batch, const Tensor&) { features.add(batch, loader.samples()); };
  {
    const nn::ObserverGuard observing(features);
    infer(source.model(), loader, source.device(), options);
  }
  if (InterruptGuard::requested()) return kInterrupted;
  const auto points = static_cast<int64_t>(features.labels().size());
  // Images without labels are all alike.
  const bool labelled = source.labelled();
  const std::vector<int32_t> labels = labelled ? features.labels() : std::vector<int32_t>(features.labels().size(), 0);
  const std::vector<std::string> names = labelled ? source.class_names() : std::vector<std::string>{"no label"};
  require<ConfigError>(points >= 3, "{}: {} images; three at least are needed", source.title(), points);

  // t-SNE sees the first fifty components, as its author advises: the rest is mostly noise and costs time.
  constexpr int64_t kKept = 50;
  const PrincipalComponents pca = principal_components(features.values(), points, features.dimensions(), kKept);
  TsneOptions tsne_options;
  tsne_options.perplexity = flags.perplexity;
  tsne_options.iterations = static_cast<int>(flags.iterations);
  tsne_options.seed = flags.image.seed >= 0 ? static_cast<uint64_t>(flags.image.seed) : source.network().config.seed;
  const auto progress = progress_line("t-SNE");
  tsne_options.progress = [&](int done, int total) { return progress(done, total); };
  const std::vector<float> plane = tsne(pca.scores, points, pca.components, tsne_options);
  if (InterruptGuard::requested()) return kInterrupted;

  draw_embedding({{"PCA", axis(pca, 0), axis(pca, 1), plane_of(pca)},
                  {"t-SNE", "t-SNE 1 (arbitrary units)", "t-SNE 2 (arbitrary units)", plane}},
                 labels, names, fmt::format("{}: {}", source.title(), features.name()),
                 fmt::format("{} of {} images, {} dimensions; t-SNE of the first {} components, perplexity {:.3g}; {}",
                             grouped(points), grouped(source.images()), grouped(features.dimensions()), pca.components,
                             usable_perplexity(flags.perplexity, points), source.weights_text()),
                 file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
