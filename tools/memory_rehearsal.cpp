#include "tools/memory_rehearsal.h"

#include <algorithm>
#include <map>
#include <memory>

#include "engine/allocator.h"
#include "engine/train/trainer.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tools/machine.h"

namespace striate {
namespace {

// More rows than the kernels for a few rows take, so that what is larger goes the same way (kernels/linear/few_rows.h).
constexpr int64_t kSmall = 12, kLarge = 16;
constexpr int64_t kSteps = 2;  // the first one leaves gradients and state behind

/// The same zeros for some steps, where a loader's images would lie.
class ZeroBatches : public BatchSource {
 public:
  ZeroBatches(int64_t images, const Shape& input, const RunConfig& config) {
    const Device device = on_host(config.device) ? Device::cpu : config.device;
    batch_.images = Tensor::zeros({images, input[0], input[1], input[2]}, config.image_type(), device);
    batch_.labels = Tensor::zeros({images}, DType::int32, Device::cpu);
  }
  int64_t samples() const override { return kSteps * batch_size(); }
  int64_t batch_size() const override { return batch_.labels.size(); }
  void start(int64_t /*epoch*/, int64_t first_batch) override { batch_.index = first_batch; }
  bool next(Batch& batch) override {
    if (batch_.index == kSteps) return false;
    batch = batch_;
    ++batch_.index;
    return true;
  }

 private:
  Batch batch_;
};

/// Notes what kernels ask for in the place of a device's own scratch memory.
class MeasuredWorkspace : public Workspace {
 public:
  explicit MeasuredWorkspace(Context& context) : context_(context), own_(context.workspace) {
    context_.workspace = this;
  }
  ~MeasuredWorkspace() override { context_.workspace = own_; }
  MeasuredWorkspace(const MeasuredWorkspace&) = delete;
  MeasuredWorkspace& operator=(const MeasuredWorkspace&) = delete;
  void* reserve(size_t bytes) override {
    most = std::max(most, bytes);
    return own_->reserve(bytes);
  }

  size_t most = 0;

 private:
  Context& context_;
  Workspace* own_;
};

}  // namespace

class MemoryRehearsal::Recorder : public AllocationObserver {
 public:
  Recorder(Allocator& allocator, std::vector<Event>& events) : allocator_(allocator), events_(events) {
    allocator_.observe(this);
  }
  ~Recorder() override { allocator_.observe(nullptr); }
  void allocated(const void* memory, size_t bytes) override {
    requests_[memory] = static_cast<int64_t>(events_.size());
    events_.push_back({static_cast<int64_t>(bytes), -1});
  }
  void freed(const void* memory) override {
    const auto found = requests_.find(memory);
    if (found == requests_.end()) return;  // asked for before
    events_.push_back({0, found->second});
    requests_.erase(found);
  }

 private:
  Allocator& allocator_;
  std::vector<Event>& events_;
  std::map<const void*, int64_t> requests_;
};

MemoryRehearsal::Trial MemoryRehearsal::rehearse(const NetworkSource& source, int64_t batch) {
  const RunConfig& config = source.config;
  Trial trial;
  trial.batch = batch;
  MeasuredWorkspace workspace(context(config.device));
  {
    const Recorder recorder(allocator(config.device), trial.events);
    const NetworkSizes sizes = source.sizes();
    const Shape input = models::resolve_input(config.model, sizes.input);
    const auto model = models::make_model(config.model, input, sizes.classes);
    model->to(config.device);
    ZeroBatches batches(batch, input, config);
    TrainOptions options = config.train;
    options.output.clear();
    options.epochs = 1;
    options.max_steps = 0;
    options.accumulate = 1;  // the batches of a step come one after another
    options.early_stop_patience = 0;
    options.handle_signals = false;
    options.cuda_graph = GraphMode::off;  // its memory is what a step without one takes
    Trainer(*model, {&batches, nullptr, nullptr}, options).run();
  }
  trial.workspace = static_cast<int64_t>(workspace.most);
  return trial;
}

MemoryRehearsal::MemoryRehearsal(const NetworkSource& source, int64_t largest)
    : touched_only_(on_host(source.config.device)) {
  set_num_threads(static_cast<int>(source.config.threads));
  large_ = rehearse(source, std::min(largest, kLarge));
  small_ = large_;
  process_ = std::max<int64_t>(0, peak_resident_bytes() - (touched_only_ ? predict(large_.batch).total() : 0));
  if (largest > kLarge) {
    small_ = rehearse(source, kSmall);
    bool alike = small_.events.size() == large_.events.size();
    for (size_t i = 0; alike && i < small_.events.size(); ++i) alike = small_.events[i].freed == large_.events[i].freed;
    require<Error>(alike, "memory: batches of {} and {} make different requests for memory", kSmall, kLarge);
  }
}

TrainingMemory MemoryRehearsal::predict(int64_t batch) const {
  const auto allocator = make_pretended_allocator();
  struct Block {
    void* memory = nullptr;
    size_t bytes = 0;
  };
  std::map<int64_t, Block> blocks;
  std::map<const void*, size_t> touched;  // the most bytes asked for of each block
  const int64_t between = large_.batch - small_.batch;
  size_t in_use = 0, peak = 0;
  for (size_t i = 0; i < large_.events.size(); ++i) {
    const Event& event = large_.events[i];
    if (event.freed >= 0) {
      const auto block = blocks.extract(event.freed).mapped();
      allocator->deallocate(block.memory, block.bytes);
      in_use -= block.bytes;
      continue;
    }
    const int64_t an_image = between == 0 ? 0 : (event.bytes - small_.events[i].bytes) / between;
    const auto bytes = static_cast<size_t>(event.bytes + an_image * (batch - large_.batch));
    void* const memory = allocator->allocate(bytes);
    blocks[static_cast<int64_t>(i)] = {memory, bytes};
    size_t& most = touched[memory];
    most = std::max(most, bytes);
    in_use += bytes;
    peak = std::max(peak, in_use);
  }
  size_t held = allocator->stats().reserved;
  if (touched_only_) {
    held = 0;
    for (const auto& [memory, bytes] : touched) held += bytes;
  }
  TrainingMemory memory;
  memory.tensors = static_cast<int64_t>(peak);
  memory.kept = static_cast<int64_t>(held - peak);
  memory.workspace = large_.workspace;
  memory.process = process_;
  return memory;
}

}  // namespace striate
