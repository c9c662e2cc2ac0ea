#include "data/picture_walk.h"

#include <atomic>
#include <chrono>
#include <mutex>

#include "data/broken_image.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace striate {
namespace {

constexpr double kSecondsBetweenNotices = 10;

/// Tells how far a walk is. Any thread may call it.
class Progress {
 public:
  explicit Progress(const PictureWalk& walk) : walk_(walk), begun_(Clock::now()) {}

  void one_more() {
    const int64_t done = ++done_;
    if (!walk_.notice || done % 64 != 0) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    const double seconds = std::chrono::duration<double>(Clock::now() - begun_).count();
    if (!lock.owns_lock() || seconds < told_ + kSecondsBetweenNotices) return;
    told_ = seconds;
    const auto all = static_cast<int64_t>(walk_.indices.size());
    const double rate = static_cast<double>(done) / seconds;
    const auto left = static_cast<int64_t>(static_cast<double>(all - done) / rate);
    walk_.notice(fmt::format("{}: {} of {} images, {:.0f} images/s, {}:{:02} left", walk_.purpose, done, all, rate,
                             left / 60, left % 60));
  }

 private:
  using Clock = std::chrono::steady_clock;
  const PictureWalk& walk_;
  Clock::time_point begun_;
  std::atomic<int64_t> done_{0};
  std::mutex mutex_;
  double told_ = 0;  // seconds after the beginning
};

}  // namespace

void walk_pictures(const PictureWalk& walk,
                   const std::function<void(int64_t part, int64_t index, Image& memory)>& visit) {
  const int parts = walk.parts();
  Progress progress(walk);
  ThreadPool pool(parts);
  pool.run(parts, [&](int64_t part) {
    Image image;
    const size_t begin = walk.indices.size() * part / parts, end = walk.indices.size() * (part + 1) / parts;
    for (const int64_t index : walk.indices.subspan(begin, end - begin)) {
      try {
        visit(part, index, image);
      } catch (const IoError& error) {
        if (!walk.skip_broken) throw broken_image(error);
      }
      progress.one_more();
    }
  });
}

}  // namespace striate
