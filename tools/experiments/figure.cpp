#include "tools/experiments/figure.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <string_view>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"

extern char** environ;

namespace striate {

const char* const kGnuplotMissing = "figures need gnuplot, which is not installed: apt-get install gnuplot-nox";

namespace {

struct CloseFile {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File temporary_file() {
  File file(std::tmpfile());
  require<IoError>(file != nullptr, "figure: no temporary file could be made: {}", std::strerror(errno));
  return file;
}

std::string contents(std::FILE* file) {
  std::rewind(file);
  std::string text;
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, n);
  return text;
}

/// Feeds the script to gnuplot's standard input; true when it exits with 0. `drawn` is what it wrote, `said` its
/// complaints. All three streams are files, so that neither side can block on a full pipe.
bool run_gnuplot(const std::string& script, std::string& drawn, std::string& said) {
  const File in = temporary_file(), out = temporary_file(), err = temporary_file();
  require<IoError>(std::fwrite(script.data(), 1, script.size(), in.get()) == script.size() && !std::fflush(in.get()),
                   "figure: the script for gnuplot could not be written to a temporary file");
  std::rewind(in.get());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(in.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(out.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(err.get()), STDERR_FILENO);
  // A process group of its own: Ctrl-C is for the tool, which finishes its files before it stops.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);

  char name[] = "gnuplot";
  char* arguments[] = {name, nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, name, &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  require<Error>(error != ENOENT, "{}", kGnuplotMissing);
  require<Error>(error == 0, "figure: gnuplot could not be started: {}", std::strerror(error));

  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  drawn = contents(out.get());
  said = contents(err.get());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Where the PNG that begins at `begin` ends; `begin` where there is no whole one. Chunks are a length, a name, the
/// bytes and a checksum; IEND is the last.
size_t end_of_png(const std::string& bytes, size_t begin) {
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
  if (bytes.compare(begin, kSignature.size(), kSignature) != 0) return begin;
  for (size_t at = begin + kSignature.size(); at + 12 <= bytes.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(bytes[at + i]);
    const bool last = bytes.compare(at + 4, 4, "IEND") == 0;
    at += 12 + length;
    if (last) return at <= bytes.size() ? at : begin;
  }
  return begin;
}

}  // namespace

bool gnuplot_available() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/gnuplot").c_str(), X_OK) == 0) return true;
  }
  return false;
}

std::string plain_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    // Twice: gnuplot's double quotes take one backslash off, enhanced text the other.
    if (c == '\\') {
      quoted += "\\\\\\";
    } else if (std::strchr("_^@&~{}", c) != nullptr) {
      quoted += "\\\\";
    } else if (c == '"') {
      quoted += '\\';
    }
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + '"';
}

FigureFormat figure_format(const std::filesystem::path& file) {
  std::string ending = file.extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  require<ConfigError>(ending == ".png" || ending == ".svg", "{}: a figure's name ends in .png or .svg", file.string());
  return ending == ".svg" ? FigureFormat::svg : FigureFormat::png;
}

Figure::Figure(int width, int height, int font_size) : width_(width), height_(height), font_size_(font_size) {
  line("set encoding utf8");
  line("set datafile missing '?'");
  line(fmt::format("set border 3 linecolor '{}' linewidth 0.7", colour::kMuted));
  line(fmt::format("set tics nomirror out scale 0.6 textcolor '{}'", colour::kText));
  line(fmt::format("set grid linetype 1 linewidth 0.5 linecolor '{}'", colour::kGrid));
}

Figure& Figure::line(const std::string& script) {
  script_ += script;
  script_ += '\n';
  return *this;
}

Figure& Figure::data(const std::string& name, const std::vector<std::vector<std::optional<double>>>& rows) {
  script_ += "$" + name + " << END_OF_DATA\n";
  for (const auto& row : rows) {
    for (const auto& value : row) {
      script_ += value && std::isfinite(*value) ? fmt::format("{:.9g} ", *value) : "? ";
    }
    script_ += '\n';
  }
  script_ += "END_OF_DATA\n";
  return *this;
}

std::string Figure::terminal(FigureFormat format) const {
  const bool svg = format == FigureFormat::svg;
  // pngcairo's points are 1/72 of 96 pixels, those of the svg terminal are pixels.
  return fmt::format("set terminal {} size {},{} font 'DejaVu Sans,{}' {} background '#FFFFFF' linewidth 2 enhanced\n",
                     svg ? "svg" : "pngcairo", width_, height_, font_size_, svg ? "fontscale 1.3333" : "");
}

namespace {

/// The svg terminal's markers grow with the font, 0.375 pixels a point for a size of 1; pngcairo's are 3.37 pixels at
/// any font (measured on gnuplot 5.4).
constexpr double kPngPoint = 3.37 / 0.375;

/// Multiplies the size of every marker.
void scale_points(std::string& svg, double factor) {
  const std::string use = "<use xlink:href='#gp", scale = " scale(";
  for (size_t at = 0; (at = svg.find(use, at)) != std::string::npos;) {
    const size_t line_end = svg.find('\n', at), begin = svg.find(scale, at);
    at += use.size();
    if (begin == std::string::npos || begin > line_end) continue;
    const size_t number = begin + scale.size(), end = svg.find(')', number);
    const double size = std::strtod(svg.c_str() + number, nullptr);
    svg.replace(number, end - number, fmt::format("{:.2f}", factor * size));
  }
}

}  // namespace

std::string Figure::render(FigureFormat format) const {
  const bool svg = format == FigureFormat::svg;
  std::string drawn, said;
  const bool done = run_gnuplot(terminal(format) + script_ + "unset output\n", drawn, said);
  require<Error>(done && !drawn.empty(), "gnuplot could not draw the figure: {}", said);
  if (!svg) return drawn;
  scale_points(drawn, kPngPoint / font_size_);
  // Verdana has the widths of DejaVu Sans, where a viewer has not got that.
  const std::string font = "font-family=\"DejaVu Sans\"";
  for (size_t at = 0; (at = drawn.find(font, at)) != std::string::npos;) {
    drawn.insert(at + font.size() - 1, ", Verdana, sans-serif");
    at += font.size();
  }
  return drawn;
}

void Figure::save(const std::filesystem::path& file) const {
  const FigureFormat format = figure_format(file);
  std::string drawn;
  try {
    drawn = render(format);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  }
  write_file_atomically(file.string(), drawn);
}

void Figure::save_all(const std::vector<std::pair<std::filesystem::path, Figure>>& figures) {
  if (figures.empty()) return;
  std::string script, drawn, said;
  for (const auto& [file, figure] : figures) {
    script += figure.terminal(FigureFormat::png) + figure.script_ + "unset output\nreset\n";
  }
  const bool done = run_gnuplot(script, drawn, said);
  size_t begin = 0;
  for (const auto& [file, figure] : figures) {
    const size_t end = end_of_png(drawn, begin);
    require<Error>(done && end > begin, "{}: gnuplot could not draw the figure: {}", file.string(), said);
    write_file_atomically(file.string(), std::string_view(drawn).substr(begin, end - begin), Sync::no);
    begin = end;
  }
}

}  // namespace striate
