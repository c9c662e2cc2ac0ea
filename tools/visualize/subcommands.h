#pragma once

/// The subcommands of `visualize`: a command line each, argv[0] being the program's name and theirs. They return an
/// exit code and throw as run_tool() expects.
namespace striate::visualize {

int samples(int argc, const char* const* argv);
int filters(int argc, const char* const* argv);
int filtered(int argc, const char* const* argv);
int predictions(int argc, const char* const* argv);
int errors(int argc, const char* const* argv);
int embedding(int argc, const char* const* argv);
int imagine(int argc, const char* const* argv);
int confusion(int argc, const char* const* argv);
int compare(int argc, const char* const* argv);
int report(int argc, const char* const* argv);

}  // namespace striate::visualize
