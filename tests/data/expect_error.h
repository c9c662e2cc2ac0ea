#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace striate::test {

/// `call` must throw an E whose message holds every one of `parts`.
template <typename E, typename Call>
void expect_error(Call&& call, const std::vector<std::string>& parts) {
  try {
    call();
  } catch (const E& error) {
    for (const auto& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "nothing was thrown";
}

}  // namespace striate::test
