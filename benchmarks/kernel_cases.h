#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/shapes.h"

namespace striate::bench {

/// A call of one op's CUDA kernels. run() allocates and fills what it needs, each time.
struct KernelCase {
  std::string name;
  std::function<void(Context&)> run;
  /// 0: bound by memory. Else the multiply–adds of a product, without those on padding.
  int64_t macs = 0;
  /// Memory-bound ops: how often a launch asks for a byte that it reads, on average and at most: windows overlap, and
  /// channels' parameters are read by every block.
  double reads = 1.3;
  double read_bytes = 0, written_bytes = 0;  ///< of the tensors, each once; for products and max pool
  bool whole_sectors = true;  ///< false: runs of memory begin and end within sectors, which no kernel could help
};

/// In this precision, with a stream and a workspace of its own.
void run_case(const KernelCase& c, Precision precision);

enum class Pass { forward, backward_data, backward_weight };

/// Of T in memory, float or bfloat16.
template <typename T>
KernelCase convolution(const std::string& name, const Conv2dShape& shape, Pass pass);
template <typename T>
KernelCase linear(const std::string& name, const LinearShape& shape, Pass pass);
template <typename T = float>
KernelCase max_pool(const std::string& name, const Pool2dShape& shape, Pass pass);

/// Every kernel that is bound by memory, on AlexNet's channels with few pixels and on shapes that no tile divides.
std::vector<KernelCase> memory_bound_cases();

/// The layers of AlexNet (torchvision's), by name, at a batch: conv1 … conv5, fc6 … fc8, pool1, pool2, pool5.
struct AlexNetLayers {
  std::vector<std::pair<std::string, Conv2dShape>> convolutions;
  std::vector<std::pair<std::string, LinearShape>> linears;
  std::vector<std::pair<std::string, Pool2dShape>> pools;
};
AlexNetLayers alexnet_layers(int64_t batch);

}  // namespace striate::bench
