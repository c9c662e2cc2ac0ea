#include "engine/nvtx.h"

#if defined(STRIATE_NVTX)

#include <nvtx3/nvToolsExt.h>

namespace striate::nvtx {
void begin_range(const char* name) { nvtxRangePushA(name); }
void end_range() { nvtxRangePop(); }
}  // namespace striate::nvtx

#else

namespace striate::nvtx {
void begin_range(const char* /*name*/) {}
void end_range() {}
}  // namespace striate::nvtx

#endif
