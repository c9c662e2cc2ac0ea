#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace striate::test {

/// A page in headless Chromium, driven over its own DevTools protocol (pipes, no port): real clicks and keys.
class Browser {
 public:
  /// Where chromium is missing; empty where it is there.
  static std::string missing();

  /// Opens a page of `width` × `height` CSS pixels. Throws std::runtime_error where the browser does not start or
  /// answer.
  Browser(const std::filesystem::path& page, int width = 1100, int height = 900);
  ~Browser();
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  /// The value of a JavaScript expression, as JSON. Throws with its message what the expression throws.
  nlohmann::json evaluate(const std::string& expression);
  std::string text(const std::string& expression);
  double number(const std::string& expression);

  /// Scrolls the element that a selector names into view and clicks its middle.
  void click(const std::string& selector);
  /// Focuses an element and presses a key: "ArrowRight", "Enter", "Home".
  void press(const std::string& selector, const std::string& key);
  /// A PNG of the whole page, or a PDF of it as it is printed.
  void screenshot(const std::filesystem::path& png);
  void print(const std::filesystem::path& pdf);

  /// What the page wrote to its console, errors that nobody caught, and requests that were refused, so far.
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  nlohmann::json command(const std::string& method, const nlohmann::json& parameters);
  nlohmann::json receive();
  void note(const nlohmann::json& event);

  TempDir profile_;
  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
  int last_id_ = 0;
  std::string session_, received_;
  bool loaded_ = false;
  std::vector<std::string> complaints_;
};

}  // namespace striate::test
