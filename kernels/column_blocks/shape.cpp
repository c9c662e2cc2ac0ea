#include "kernels/column_blocks/column_blocks.h"
#include "kernels/error.h"

namespace striate {

std::string ColumnBlocksShape::to_string() const {
  return fmt::format("{}×{} in {} of {} parts", N, K, last - first, parts);
}

void ColumnBlocksShape::check() const {
  require<ShapeError>(N >= 0 && K > 0 && parts > 0 && 0 <= first && first <= last && last <= parts,
                      "column blocks [{},{}], parts {} to {} of {}: every size must be positive (the batch may be 0) "
                      "and the parts must be there",
                      N, K, first, last, parts);
}

}  // namespace striate
