#include "data/picture_walk.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace striate {

int walk_parts(int threads) { return std::max(threads, 1); }

void walk_pictures(std::span<const int64_t> indices, int threads, bool skip_broken,
                   const std::function<void(int64_t part, int64_t index, Image& memory)>& visit) {
  const int parts = walk_parts(threads);
  ThreadPool pool(parts);
  pool.run(parts, [&](int64_t part) {
    Image image;
    const size_t begin = indices.size() * part / parts, end = indices.size() * (part + 1) / parts;
    for (const int64_t index : indices.subspan(begin, end - begin)) {
      try {
        visit(part, index, image);
      } catch (const IoError&) {
        if (!skip_broken) throw;
      }
    }
  });
}

}  // namespace striate
