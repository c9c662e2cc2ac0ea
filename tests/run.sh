#!/usr/bin/env bash
# Installs what is missing, builds everything with warnings as errors, and runs all tests.
#   tests/run.sh           build/, optimised
#   tests/run.sh --asan    build-asan/, with the address and undefined-behaviour sanitizers
#   tests/run.sh --race    build-race/, the CUDA kernels on the host, checked for data races, bounds, unwritten memory
# JOBS=N sets how many compilers and tests run at once (default: every core).
set -euo pipefail
cd "$(dirname "$0")/.."

preset=host
for argument in "$@"; do
  case "$argument" in
    --asan) preset=host-asan ;;
    --race) preset=host-race ;;
    -h | --help)
      sed -n '2,6s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "tests/run.sh: unknown option '$argument' (--asan and --race exist)" >&2
      exit 2
      ;;
  esac
done
jobs=${JOBS:-$(nproc)}

tools/install_packages.sh --tests
# quickstart.sh may have configured the same folder without tests. Nothing is timed under the sanitizers.
tools=ON
benchmarks=ON
[ "$preset" != host-asan ] || benchmarks=OFF
[ "$preset" != host-race ] || tools=OFF
cmake --preset "$preset" -DSTRIATE_BUILD_TOOLS=$tools -DSTRIATE_BUILD_TESTS=ON -DSTRIATE_BUILD_BENCHMARKS=$benchmarks
cmake --build --preset "$preset" --parallel "$jobs"
ctest --preset "$preset" --parallel "$jobs"
