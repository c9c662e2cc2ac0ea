#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <initializer_list>
#include <string>

namespace striate::test {

/// fn() throws `E`, and the message contains every one of `parts`.
template <typename E, typename Fn>
testing::AssertionResult throws_with(Fn&& fn, std::initializer_list<std::string> parts) {
  try {
    fn();
  } catch (const E& error) {
    for (const std::string& part : parts) {
      if (std::string(error.what()).find(part) == std::string::npos) {
        return testing::AssertionFailure() << "the message \"" << error.what() << "\" does not name \"" << part << '"';
      }
    }
    return testing::AssertionSuccess();
  } catch (const std::exception& error) {
    return testing::AssertionFailure() << "another exception was thrown: " << error.what();
  }
  return testing::AssertionFailure() << "nothing was thrown";
}

}  // namespace striate::test
