#pragma once

namespace striate {

/// What is looked at during training: the section `analysis` of a configuration.
struct AnalysisOptions {
  bool kernels = false;  ///< conv1_kernels_epoch_E.png and .safetensors, and the film conv1_kernels.apng at the end
  bool tuning = false;   ///< kernel_responses_EE/
};

}  // namespace striate
