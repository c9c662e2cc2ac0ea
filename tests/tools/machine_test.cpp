#include "tools/machine.h"

#include <gtest/gtest.h>

#include "kernels/gpu/device.h"

namespace striate::test {
namespace {

TEST(MachineTest, NamesProcessorCoresAndMemory) {
  EXPECT_EQ(machine_description("processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\n"
                                "model name\t: another\n",
                                "MemTotal:       25165824 kB\nMemFree: 1 kB\n", 2),
            "Intel Xeon E5-2680 v4, 2 cores, 24.0 GiB of memory");
}

TEST(MachineTest, LeavesOutWhatTheSystemDoesNotTell) {
  EXPECT_EQ(machine_description("BogoMIPS : 50.00\n", "", 1), "1 core");
  EXPECT_EQ(machine_description("", "MemTotal: unknown\n", 4), "4 cores");
}

TEST(MachineTest, ThisMachineHasCores) { EXPECT_NE(machine_description(Device::cpu).find("core"), std::string::npos); }

TEST(MachineTest, ProvenanceNamesCommitCompilerAndMachine) {
  const Provenance facts = provenance(Device::cpu);
  std::vector<std::string> names;
  for (const auto& [name, value] : facts) {
    names.push_back(name);
    EXPECT_FALSE(value.empty()) << name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"commit", "version", "compiler", "machine", "date"}));
  EXPECT_TRUE(provenance_comment(Device::cpu).starts_with("# commit: ")) << provenance_comment(Device::cpu);
  const std::string line = provenance_line(Device::cpu);
  EXPECT_TRUE(line.starts_with(machine_description(Device::cpu) + " · ")) << line;
  EXPECT_NE(line.find(", " + std::string(build_commit()) + " · 20"), std::string::npos) << line;
  EXPECT_EQ(times_notice(Device::cpu), "");
  if (gpu::built_for_gpu()) return;
  EXPECT_NE(times_notice(Device::cuda).find("mean nothing"), std::string::npos);
  EXPECT_EQ(provenance(Device::cuda).back().first, "notice");
}

}  // namespace
}  // namespace striate::test
