#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/tool.h"

namespace striate::test {

/// Why nothing can be started by mpirun here; empty where it can.
std::string no_ranks();

/// Flags of tests/ranks/mpirun.sh that start so many ranks of train.
std::vector<std::string> as_ranks(int ranks, const std::vector<std::string>& flags);
/// More of them behind the former, with flags of their own.
std::vector<std::string> with_more_ranks(std::vector<std::string> all, int ranks,
                                         const std::vector<std::string>& flags);

/// tests/ranks/mpirun.sh
std::string mpirun();

/// The process of a rank that this mpirun has started; 0 where there is none (yet).
pid_t process_of_rank(pid_t mpirun, int rank);

/// Pictures of one colour each in class folders `a` and `b`, so many in each, of 8×8 pixels.
void write_class_folders(const std::filesystem::path& folder, int pictures);

}  // namespace striate::test
