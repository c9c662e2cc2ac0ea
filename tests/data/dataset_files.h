#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"

namespace striate::test {

using Bytes = std::vector<uint8_t>;

void write_bytes(const std::filesystem::path& file, const Bytes& bytes);
void write_text(const std::filesystem::path& file, const std::string& text);
Bytes gzipped(const Bytes& bytes);

/// How a JPEG of colours is written beside its quality.
struct JpegForm {
  int luma_columns = 2, luma_rows = 2;  ///< luma samples a chroma sample
  bool progressive = false;
  int restart_rows = 0;  ///< rows of blocks between restart markers; 0: no markers
};
Bytes jpeg(const Image& image, int quality = 90, const JpegForm& form = {});
Bytes png(const Image& image);

/// An IDX file of images [count, height, width]; pixel i is (7·i + 3) mod 256.
Bytes idx_images(int count, int height, int width);
/// An IDX file of labels; label i is i mod `classes`.
Bytes idx_labels(int count, int classes = 10);
/// The four files of MNIST, plain, in a folder; train has `train` images of 28×28, test `test`.
void write_mnist(const std::filesystem::path& folder, int train, int test);

/// CIFAR records with `label_bytes` labels each (the last one r mod classes, others 0); pixel i of plane c of record r
/// is (r + 50·c + i) mod 256.
Bytes cifar_records(int count, int label_bytes, int classes);

}  // namespace striate::test
