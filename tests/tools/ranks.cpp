#include "tests/tools/ranks.h"

#include <fstream>
#include <sstream>

namespace striate::test {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool in_path(const std::string& program) {
  std::istringstream folders(std::getenv("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (fs::exists(fs::path(folder) / program)) return true;
  }
  return false;
}

std::string train() { return std::string(STRIATE_TOOLS_DIR) + "/train"; }

}  // namespace

std::string no_ranks() {
#ifdef STRIATE_WITH_MPI
  return in_path("mpirun") ? "" : "there is no mpirun, which is in Debian's openmpi-bin";
#else
  return "this build has no MPI";
#endif
}

std::string mpirun() { return std::string(STRIATE_RANKS_DIR) + "/mpirun.sh"; }

std::vector<std::string> as_ranks(int ranks, const std::vector<std::string>& flags) {
  std::vector<std::string> all = {std::to_string(ranks), train()};
  all.insert(all.end(), flags.begin(), flags.end());
  return all;
}

std::vector<std::string> with_more_ranks(std::vector<std::string> all, int ranks,
                                         const std::vector<std::string>& flags) {
  all.insert(all.end(), {":", "-n", std::to_string(ranks), train()});
  all.insert(all.end(), flags.begin(), flags.end());
  return all;
}

pid_t process_of_rank(pid_t mpirun, int rank) {
  const std::string variable = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + '\0';
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string parent = "\nPPid:\t" + std::to_string(mpirun) + "\n";
    if (contents(entry.path() / "status").find(parent) == std::string::npos) continue;
    if (contents(entry.path() / "environ").find(variable) != std::string::npos) return std::stoi(name);
  }
  return 0;
}

void write_class_folders(const fs::path& folder, int pictures) {
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder / name);
    for (int i = 0; i < pictures; ++i) {
      std::string picture = "P6\n8 8\n255\n";
      for (int byte = 0; byte < 8 * 8 * 3; ++byte) picture += static_cast<char>(*name == 'a' ? 40 + i : 200 - byte % 3);
      write_text(folder / name / (std::to_string(i) + ".ppm"), picture);
    }
  }
}

}  // namespace striate::test
