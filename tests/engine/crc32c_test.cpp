#include "engine/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace striate {
namespace {

TEST(Crc32c, IsThatOfTheStandard) {
  // RFC 3720, B.4, but for the first, the polynomial's usual check value.
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising.push_back(c);
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Crc32c, TablesAndInstructionAgreeAtEveryLengthAndPlace) {
  std::vector<uint8_t> bytes(100);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i + 7 * i);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t count = 0; begin + count <= bytes.size(); ++count) {
      EXPECT_EQ(crc32c(&bytes[begin], count), portable_crc32c(&bytes[begin], count)) << begin << " " << count;
    }
  }
}

TEST(Crc32c, PartsAddUp) {
  const std::string text = "a checksum of parts is that of the whole";
  for (size_t first = 0; first <= text.size(); ++first) {
    const uint32_t before = crc32c(text.data(), first);
    EXPECT_EQ(crc32c(text.data() + first, text.size() - first, before), crc32c(text));
    EXPECT_EQ(portable_crc32c(text.data() + first, text.size() - first, before), crc32c(text));
  }
}

}  // namespace
}  // namespace striate
