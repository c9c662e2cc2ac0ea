#!/usr/bin/env bash
# tests/gpu.sh with stand-ins for what a machine with a GPU has: every stage runs, a failing one stops none of the
# others, and nothing is called a success that was not one.
#   tests/gpu_test.sh
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # <what> <text that it must hold> <file>
  grep -qF -- "$2" "$3" || { echo "$1: expected '$2' in:" && cat "$3" && exit 1; }
}
expect_not() {
  ! grep -qF -- "$2" "$3" || { echo "$1: did not expect '$2' in:" && cat "$3" && exit 1; }
}
stand_in() { # <file> <its commands>
  mkdir -p "$(dirname "$1")"
  printf '#!/usr/bin/env bash\n%s\n' "$2" > "$1"
  chmod +x "$1"
}

mkdir -p "$work/tree/tests" "$work/bin"
cp "$source_dir/tests/gpu.sh" "$work/tree/tests/"
for tool in nvcc compute-sanitizer ctest; do stand_in "$work/bin/$tool" "echo $tool \"\$@\""; done
stand_in "$work/bin/nvidia-smi" 'case "$1" in --query*) echo "NVIDIA H100 80GB HBM3, 550.54, 81559 MiB, 9.0" ;; -L) printf "GPU 0: NVIDIA H100\nGPU 1: NVIDIA H100\n" ;; *) echo clocks ;; esac'
stand_in "$work/bin/mpirun" ":"
mkdir -p "$work/tree/tests/ranks"
stand_in "$work/tree/tests/ranks/mpirun.sh" 'echo "mpirun.sh $*"'
stand_in "$work/bin/c++" 'echo "c++ of nobody"'
stand_in "$work/bin/python3" 'echo "ModuleNotFoundError: No module named torch" >&2; exit 1'
# The program layers fails, throughput is not built; what an earlier build left of it must not be run.
stand_in "$work/bin/cmake" 'case "$1" in
  --version) echo "cmake of nobody" ;;
  --preset) echo configured "$@" && mkdir -p build-cuda && touch build-cuda/build.ninja ;;
  --build)
    for program in tests/kernels_tests benchmarks/kernels tools/train; do
      mkdir -p "$(dirname build-cuda/$program)"
      printf "#!/bin/sh\necho \"ran $program \$*\"\n" > build-cuda/$program && chmod +x build-cuda/$program
    done
    printf "#!/bin/sh\necho no such layer\nexit 3\n" > build-cuda/benchmarks/layers && chmod +x build-cuda/benchmarks/layers
    exit "${BUILD_ENDS_WITH:-0}" ;;
esac'
stand_in "$work/tree/build-cuda/benchmarks/throughput" 'echo stale'

run() { (cd "$work" && PATH=$work/bin:$PATH PEERS=$work/nothing "$work/tree/tests/gpu.sh" "$@" > "$work/out" 2>&1); }

code=0
BUILD_ENDS_WITH=1 run || code=$?
[ $code = 1 ] || { echo "with failing stages it ended with $code" && cat "$work/out" && exit 1; }
report=$work/tree/gpu-report.txt
expect "the head" "gpu:      NVIDIA H100 80GB HBM3" "$report"
expect "the architecture" "configured --preset cuda -DCMAKE_CUDA_ARCHITECTURES=90-real" "$report"
for done in configure suite memcheck racecheck initcheck synccheck kernels-check limits kernels train-graph-true \
  train-graph-false trace ranks-tests ranks-data ranks-one_weird_trick; do
  grep -qE "^  $done +[0-9]+ s  ok$" "$report" || { echo "$done did not pass" && cat "$report" && exit 1; }
done
expect "a benchmark's output" "ran benchmarks/kernels --device cuda --benchmark_min_time" "$report"
expect "a rank a GPU" "mpirun.sh 2 build-cuda/benchmarks/ranks --model alexnet --device cuda --batch 256" "$report"
expect "a failing stage's output" "no such layer" "$work/out"
expect "a missing program" "FAILED (build-cuda/benchmarks/throughput was not built)" "$report"
expect_not "what an earlier build left" "stale" "$report"
expect "a skipped stage" "No module named torch" "$report"
expect "the list" "FAILED: build layers-train-fp32 layers-infer-fp32 layers-train-tf32" "$report"
expect "the list" "graph-true graph-false" "$report"
expect_not "the end" "all stages that ran passed" "$report"
tar -tzf "$work/tree/gpu-results.tar.gz" > "$work/packed"
for file in report.txt nvidia-smi.txt logs/kernels.log logs/suite.log; do expect "the pack" "gpu-results/$file" "$work/packed"; done

touch "$work/tree/gpu-results/old"
run --quick --report "$work/quick.txt" --results "$work/quick"
expect "--quick" "all stages that ran passed" "$work/quick.txt"
expect "--quick" "skipped: --quick" "$work/quick.txt"
[ -s "$work/quick.tar.gz" ]

# The script itself; not as Ctrl-C does, which a job in the background ignores.
stand_in "$work/bin/ctest" 'read -r _ _ _ script _ < /proc/$PPID/stat && kill -TERM "$script"'
code=0
run || code=$?
[ $code = 143 ] || { echo "interrupted, it ended with $code" && cat "$work/out" && exit 1; }
expect "interrupted" "INTERRUPTED" "$report"
expect_not "interrupted" "all stages that ran passed" "$report"
[ -e "$work/tree/gpu-results.1/old" ] && [ ! -e "$work/tree/gpu-results/old" ] || { echo "an earlier run's results are in the way" && exit 1; }

stand_in "$work/bin/nvidia-smi" 'echo "No devices were found"; exit 6'
code=0
run || code=$?
[ $code = 2 ] || { echo "without a GPU it ended with $code" && exit 1; }
expect "without a GPU" "tests/gpu.sh: nvidia-smi finds no GPU: No devices were found" "$work/out"
stand_in "$work/bin/nvidia-smi" 'echo "Tesla V100, 550.54, 16384 MiB, 7.0"'
run && exit 1
expect "an old GPU" "compute capability 7.0" "$work/out"
