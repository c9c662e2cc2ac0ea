#include "tests/data/archive_files.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace striate::test {
namespace {

void append(Bytes& bytes, const void* data, size_t count) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes.insert(bytes.end(), from, from + count);
}

/// A tag, its data, and zeros up to the next multiple of eight.
void append_element(Bytes& bytes, uint32_t type, const void* data, size_t count) {
  const uint32_t tag[2] = {type, static_cast<uint32_t>(count)};
  append(bytes, tag, sizeof tag);
  append(bytes, data, count);
  while (bytes.size() % 8 != 0) bytes.push_back(0);
}

Bytes matrix(uint32_t kind, int32_t rows, int32_t columns, const std::string& name, const Bytes& content) {
  Bytes inside;
  const uint32_t flags[2] = {kind, 0};
  append_element(inside, 6, flags, sizeof flags);
  const int32_t sides[2] = {rows, columns};
  append_element(inside, 5, sides, sizeof sides);
  append_element(inside, 1, name.data(), name.size());
  inside.insert(inside.end(), content.begin(), content.end());
  Bytes bytes;
  append_element(bytes, 14, inside.data(), inside.size());
  return bytes;
}

Bytes number(double value) {
  Bytes content;
  append_element(content, 9, &value, sizeof value);
  return matrix(6, 1, 1, "", content);
}

Bytes text(const std::string& value) {
  Bytes units;
  for (const char c : value) units.insert(units.end(), {static_cast<uint8_t>(c), 0});
  Bytes content;
  append_element(content, 4, units.data(), units.size());
  return matrix(4, 1, static_cast<int32_t>(value.size()), "", content);
}

}  // namespace

Bytes tar(const std::vector<TarEntry>& entries, TarFormat format) {
  size_t room = 1 << 16;
  for (const TarEntry& entry : entries) room += entry.bytes.size() + 16384;
  Bytes bytes(room);
  size_t used = 0;
  archive* out = archive_write_new();
  if (format == TarFormat::ustar) archive_write_set_format_ustar(out);
  if (format == TarFormat::pax) archive_write_set_format_pax(out);
  if (format == TarFormat::gnu) archive_write_set_format_gnutar(out);
  bool good = archive_write_open_memory(out, bytes.data(), bytes.size(), &used) == ARCHIVE_OK;
  for (const TarEntry& from : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, from.name.c_str());
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, from.kind == TarEntry::Kind::folder          ? AE_IFDIR
                                      : from.kind == TarEntry::Kind::symbolic_link ? AE_IFLNK
                                                                                   : AE_IFREG);
    if (from.kind == TarEntry::Kind::symbolic_link) archive_entry_set_symlink(entry, from.target.c_str());
    if (from.kind == TarEntry::Kind::hard_link) archive_entry_set_hardlink(entry, from.target.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(from.bytes.size()));
    if (from.kind == TarEntry::Kind::with_a_hole) archive_entry_sparse_add_entry(entry, 0, 512);
    good = good && archive_write_header(out, entry) == ARCHIVE_OK &&
           archive_write_data(out, from.bytes.data(), from.bytes.size()) == static_cast<la_ssize_t>(from.bytes.size());
    archive_entry_free(entry);
  }
  good = good && archive_write_close(out) == ARCHIVE_OK;
  const std::string reason = good ? "" : archive_error_string(out);
  archive_write_free(out);
  if (!good) throw std::runtime_error("cannot write the tar: " + reason);
  bytes.resize(used);
  return bytes;
}

size_t tar_header(const Bytes& tar, std::string_view name) {
  for (size_t place = 0; place + 512 <= tar.size(); place += 512) {
    if (std::memcmp(tar.data() + place, name.data(), name.size()) == 0 && tar[place + name.size()] == 0) return place;
  }
  throw std::runtime_error("no such member: " + std::string(name));
}

void set_tar_size(Bytes& tar, size_t header, uint64_t size, bool base256) {
  constexpr size_t kSize = 124, kSum = 148;
  if (base256) {
    tar[header + kSize] = 0x80;
    for (size_t i = 1; i < 12; ++i) {
      const size_t shift = 8 * (11 - i);
      tar[header + kSize + i] = shift < 64 ? static_cast<uint8_t>(size >> shift) : 0;
    }
  } else {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%012llo", static_cast<unsigned long long>(size));
    std::memcpy(tar.data() + header + kSize, digits, 12);
  }
  std::fill_n(tar.begin() + static_cast<ptrdiff_t>(header + kSum), 8, ' ');
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += tar[header + i];
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  std::memcpy(tar.data() + header + kSum, digits, 7);
}

Bytes mat_file(const std::vector<Synset>& synsets) {
  constexpr size_t kNameLength = 16;
  const std::vector<std::string> fields = {"ILSVRC2012_ID", "WNID", "words", "num_children"};
  Bytes content, names(kNameLength * fields.size());
  const auto length = static_cast<int32_t>(kNameLength);
  append_element(content, 5, &length, sizeof length);
  for (size_t f = 0; f < fields.size(); ++f) {
    std::copy(fields[f].begin(), fields[f].end(), names.begin() + static_cast<ptrdiff_t>(f * kNameLength));
  }
  append_element(content, 1, names.data(), names.size());
  for (const Synset& synset : synsets) {
    for (const Bytes& value : {number(synset.id), text(synset.wordnet), text(synset.words), number(synset.children)}) {
      content.insert(content.end(), value.begin(), value.end());
    }
  }
  Bytes file(128, ' ');
  const uint8_t version[4] = {0, 1, 'I', 'M'};
  std::copy_n(version, 4, file.begin() + 124);
  const Bytes array = matrix(2, static_cast<int32_t>(synsets.size()), 1, "synsets", content);
  file.insert(file.end(), array.begin(), array.end());
  return file;
}

}  // namespace striate::test
