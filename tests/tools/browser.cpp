#include "tests/tools/browser.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

extern char** environ;

namespace striate::test {
namespace {

using nlohmann::json;

constexpr int kPatienceMs = 60'000;  // of one answer; a loaded machine starts a browser slowly

std::string on_path(const std::string& name) {
  std::string folders = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  for (size_t begin = 0; begin < folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string file = folders.substr(begin, end - begin) + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return {};
}

std::string chromium() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    if (const std::string file = on_path(name); !file.empty()) return file;
  }
  return {};
}

void write_base64(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0) continue;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((have += 6) >= 8) out.put(static_cast<char>(bits >> (have -= 8)));
  }
}

}  // namespace

std::string Browser::missing() {
  return chromium().empty() ? "there is no chromium on the PATH (apt-get install chromium)" : "";
}

Browser::Browser(const std::filesystem::path& page, int width, int height) {
  std::array<int, 2> down{}, up{};
  if (pipe2(down.data(), O_CLOEXEC) != 0 || pipe2(up.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  const std::string program = chromium(), profile = "--user-data-dir=" + profile_.path().string();
  std::vector<std::string> arguments = {
      program,         "--headless=new", "--remote-debugging-pipe", profile,      "--no-sandbox",
      "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "about:blank"};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // The browser reads commands from descriptor 3 and writes answers to 4. Both ends are moved out of the way first.
  posix_spawn_file_actions_adddup2(&actions, down[0], 103);
  posix_spawn_file_actions_adddup2(&actions, up[1], 104);
  posix_spawn_file_actions_adddup2(&actions, 103, 3);
  posix_spawn_file_actions_adddup2(&actions, 104, 4);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // so that its children can be ended with it
  const int error = posix_spawn(&pid_, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(down[0]);
  close(up[1]);
  to_ = down[1];
  from_ = up[0];
  if (error != 0) throw std::runtime_error("chromium does not start");

  const json target = command("Target.createTarget", {{"url", "about:blank"}});
  session_ = command("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}})["sessionId"];
  for (const char* domain : {"Runtime.enable", "Page.enable", "Log.enable", "Network.enable"})
    command(domain, json::object());
  command("Emulation.setDeviceMetricsOverride",
          {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", width < 500}});
  command("Page.navigate", {{"url", "file://" + std::filesystem::absolute(page).string()}});
  while (!loaded_) note(receive());
}

Browser::~Browser() {
  close(to_);
  close(from_);
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

json Browser::receive() {
  for (;;) {
    if (const size_t end = received_.find('\0'); end != std::string::npos) {
      json message = json::parse(received_.substr(0, end));
      received_.erase(0, end + 1);
      return message;
    }
    pollfd waiting{from_, POLLIN, 0};
    if (poll(&waiting, 1, kPatienceMs) <= 0) throw std::runtime_error("chromium does not answer");
    std::array<char, 65536> block{};
    const ssize_t count = read(from_, block.data(), block.size());
    if (count <= 0) throw std::runtime_error("chromium has ended");
    received_.append(block.data(), static_cast<size_t>(count));
  }
}

void Browser::note(const json& event) {
  const std::string method = event.value("method", "");
  if (method == "Page.loadEventFired") loaded_ = true;
  if (method == "Runtime.consoleAPICalled" || method == "Runtime.exceptionThrown" || method == "Log.entryAdded" ||
      method == "Network.loadingFailed") {
    complaints_.push_back(event["params"].dump());
  }
  // data: pictures are no requests that leave the page.
  if (method == "Network.requestWillBeSent") {
    const std::string url = event["params"]["request"]["url"];
    if (!url.starts_with("file://") && !url.starts_with("data:")) complaints_.push_back("a request to " + url);
  }
}

json Browser::command(const std::string& method, const json& parameters) {
  json message = {{"id", ++last_id_}, {"method", method}, {"params", parameters}};
  if (!session_.empty()) message["sessionId"] = session_;
  const std::string text = message.dump() + '\0';
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t count = write(to_, text.data() + sent, text.size() - sent);
    if (count <= 0) throw std::runtime_error("chromium takes no commands");
    sent += static_cast<size_t>(count);
  }
  for (;;) {
    json answer = receive();
    if (!answer.contains("id")) {
      note(answer);
    } else if (answer["id"] == last_id_) {
      if (answer.contains("error")) throw std::runtime_error(method + ": " + answer["error"].dump());
      return answer["result"];
    }
  }
}

json Browser::evaluate(const std::string& expression) {
  const json answer =
      command("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
  if (answer.contains("exceptionDetails")) {
    throw std::runtime_error(expression + ": " + answer["exceptionDetails"]["exception"].value("description", "?"));
  }
  return answer["result"].value("value", json());
}

std::string Browser::text(const std::string& expression) { return evaluate("String(" + expression + ")"); }
double Browser::number(const std::string& expression) { return evaluate("Number(" + expression + ")"); }

void Browser::click(const std::string& selector) {
  const json where = evaluate(
      fmt::format("(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}});"
                  " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()",
                  json(selector).dump()));
  for (const char* type : {"mousePressed", "mouseReleased"}) {
    command("Input.dispatchMouseEvent",
            {{"type", type}, {"x", where[0]}, {"y", where[1]}, {"button", "left"}, {"clickCount", 1}});
  }
}

void Browser::press(const std::string& selector, const std::string& key) {
  evaluate(fmt::format("document.querySelector({}).focus()", json(selector).dump()));
  const std::vector<std::pair<std::string, int>> codes = {{"End", 35},     {"Home", 36},       {"ArrowLeft", 37},
                                                          {"ArrowUp", 38}, {"ArrowRight", 39}, {"ArrowDown", 40},
                                                          {"Enter", 13}};
  for (const auto& [name, code] : codes) {
    if (name != key) continue;
    for (const char* type : {"keyDown", "keyUp"}) {
      command("Input.dispatchKeyEvent", {{"type", type},
                                         {"key", key},
                                         {"code", key},
                                         {"windowsVirtualKeyCode", code},
                                         {"nativeVirtualKeyCode", code}});
    }
    return;
  }
  throw std::runtime_error("no key " + key);
}

void Browser::screenshot(const std::filesystem::path& png) {
  const json size = command("Page.getLayoutMetrics", json::object())["cssContentSize"];
  const json clip = {{"x", 0}, {"y", 0}, {"width", size["width"]}, {"height", size["height"]}, {"scale", 1}};
  write_base64(png, command("Page.captureScreenshot",
                            {{"format", "png"}, {"captureBeyondViewport", true}, {"clip", clip}})["data"]);
}

void Browser::print(const std::filesystem::path& pdf) {
  write_base64(pdf, command("Page.printToPDF", {{"printBackground", true}})["data"]);
}

}  // namespace striate::test
