#!/usr/bin/env bash
# For a machine with an NVIDIA GPU: builds the preset cuda for the GPU that is there, runs the whole suite on it, then
# compute-sanitizer and the benchmarks. What fails stops nothing that does not need it and is listed at the end; the
# report, the stages' whole output, tables, pictures and the trace are packed into one file to send back, also where the
# script is interrupted. Ends with 1 if a stage failed.
#   tests/gpu.sh                      all stages
#   tests/gpu.sh --quick              without compute-sanitizer and the benchmarks
#   tests/gpu.sh --report FILE        the report's place (default: gpu-report.txt)
#   tests/gpu.sh --results DIR        where tables, pictures and the trace go (default: gpu-results, packed as
#                                     gpu-results.tar.gz; an earlier one becomes gpu-results.1)
# JOBS=N sets how many compilers run at once, STAGE_MINUTES=N how long a stage may take (default: 60), PEERS=DIR the
# Python environment with a PyTorch for CUDA (default: build/peers, else python3). Needs the driver (nvidia-smi), the
# CUDA Toolkit 12.1 or newer (nvcc), a GPU of compute capability 8.0 or newer, and the packages that
# tools/install_packages.sh --tests installs.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

quick=no
report="gpu-report.txt"
results="gpu-results"
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --report) report=${2:?tests/gpu.sh: --report needs a file} && shift ;;
    --results) results=${2:?tests/gpu.sh: --results needs a folder} && shift ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "tests/gpu.sh: unknown option '$1' (see --help)" >&2 && exit 2 ;;
  esac
  shift
done

stop() {
  echo "tests/gpu.sh: $1" >&2
  exit 2
}
case "${STAGE_MINUTES:=60}" in '' | *[!0-9]*) stop "STAGE_MINUTES=$STAGE_MINUTES: expected a number of minutes" ;; esac
command -v nvidia-smi > /dev/null ||
  stop "there is no nvidia-smi, so no NVIDIA driver. On a machine without a GPU, tests/run.sh executes the kernels on the
host and tests/run.sh --race checks them."
gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader 2>&1) ||
  stop "nvidia-smi finds no GPU: $gpu"
[ -n "$gpu" ] || stop "nvidia-smi finds no GPU"
capability=$(printf '%s\n' "$gpu" | head -n 1 | sed 's/.*, *//')
[ "${capability%%.*}" -ge 8 ] 2> /dev/null ||
  stop "the GPU is of compute capability $capability; the kernels use cp.async and bfloat16, which need 8.0"
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc > /dev/null ||
  stop "there is no nvcc on PATH nor in /usr/local/cuda/bin. Install the CUDA Toolkit 12.1 or newer."
command -v cmake > /dev/null || stop "there is no cmake: tools/install_packages.sh --tests"

jobs=${JOBS:-$(nproc)}
logs=$results/logs
# What an earlier run left must not pass for this one's.
if [ -e "$results" ]; then
  before=1
  while [ -e "$results.$before" ]; do before=$((before + 1)); done
  mv "$results" "$results.$before" || stop "$results cannot be moved out of the way"
fi
mkdir -p "$logs" "$(dirname "$report")" || stop "$results: cannot be made"
{
  echo "Striate on a GPU, $(date -u '+%Y-%m-%d %H:%M:%S UTC')"
  echo "commit:   $(git rev-parse HEAD 2> /dev/null || echo unknown)$(git diff --quiet HEAD 2> /dev/null || echo ', with changes')"
  echo "machine:  $(uname -srm), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  printf '%s\n' "$gpu" | sed 's/^/gpu:      /'
  echo "nvcc:     $(nvcc --version | sed -n 's/.*release /release /p')"
  echo "compiler: $(c++ --version | head -n 1), $(cmake --version | head -n 1)"
} > "$report"
cat "$report"
nvidia-smi -q > "$results/nvidia-smi.txt" 2>&1 # clocks, power limit, what throttles

# stage <name> <command…>: its output goes to a log, its last lines and its result here.
stages=()
order=()
failed=()
stage() {
  local name=$1 start=$SECONDS code=0 result=ok
  shift
  echo "== $name"
  order+=("$name")
  # In the foreground, so that Ctrl-C reaches the stage.
  timeout --foreground --kill-after=30 "${STAGE_MINUTES}m" "$@" > "$logs/$name.log" 2>&1 || code=$?
  case $code in
    0) ;;
    124 | 137) result="FAILED (stopped after $STAGE_MINUTES min, or killed)" ;;
    126 | 127) result="FAILED (could not be run)" ;;
    *) result="FAILED ($code)" ;;
  esac
  if [ $code = 0 ]; then tail -n 3 "$logs/$name.log"; else
    failed+=("$name")
    tail -n 15 "$logs/$name.log"
    echo "== $name: $result; whole output: $logs/$name.log"
  fi
  stages+=("$(printf '%-24s %6d s  %s' "$name" $((SECONDS - start)) "$result")")
  [ $code = 0 ]
}
skip() {
  echo "== $1: skipped: $2"
  stages+=("$(printf '%-24s %6s    %s' "$1" - "skipped: $2")")
}
# built <name> <program> <arguments…>: a stage with a program of the build.
built() {
  local name=$1 program=build-cuda/$2
  shift 2
  if [ -x "$program" ]; then stage "$name" "$program" "$@"; else
    failed+=("$name")
    echo "== $name: $program was not built"
    stages+=("$(printf '%-24s %6s    %s' "$name" - "FAILED ($program was not built)")")
  fi
}

# shellcheck disable=SC2317 # called by the trap
# Whatever ends the script, what there is until then is worth sending.
finish() {
  local code=$? name
  trap - EXIT INT TERM
  {
    printf '\nstages:\n'
    [ ${#stages[@]} = 0 ] || printf '  %s\n' "${stages[@]}"
    if [ "$code" != 0 ]; then echo "INTERRUPTED: later stages were not run"; elif [ ${#failed[@]} = 0 ]; then
      echo "all stages that ran passed"
    else
      echo "FAILED: ${failed[*]}"
    fi
  } | tee "$work" && cat "$work" >> "$report"
  for name in "${order[@]+"${order[@]}"}"; do
    printf '\n---- %s ----\n' "$name"
    # The benchmarks' output is what the report is for; of the rest the end says what went wrong.
    case "$name" in
      limits | kernels* | layers-* | ranks-* | throughput-* | graph-* | train-* | trace | compare-*) cat "$logs/$name.log" ;;
      *) tail -n 60 "$logs/$name.log" ;;
    esac
  done >> "$report"
  rm -f "$work"
  cp "$report" "$results/report.txt"
  if tar -czf "$results.tar.gz" -C "$(dirname "$results")" "$(basename "$results")"; then
    echo "report: $report; to send back: $results.tar.gz"
  else
    echo "report: $report; $results could not be packed"
  fi
  [ "$code" = 0 ] || exit "$code"
  [ ${#failed[@]} = 0 ] || exit 1
}
work=$(mktemp)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A program that does not compile costs its own stages alone.
build() {
  stage configure cmake --preset cuda "-DCMAKE_CUDA_ARCHITECTURES=${capability/./}-real" ||
    { echo "== a missing package: tools/install_packages.sh --tests" && return 1; }
  # What an earlier build left must not stand in for what this one does not manage.
  find build-cuda/tests build-cuda/tests/ranks build-cuda/tools build-cuda/benchmarks -maxdepth 1 -type f -perm -u+x -delete 2> /dev/null
  stage build cmake --build --preset cuda --parallel "$jobs" -- -k 0
}

sanitize() {
  command -v compute-sanitizer > /dev/null ||
    { skip compute-sanitizer "not on PATH (package cuda-sanitizer of the toolkit)" && return; }
  [ -x build-cuda/tests/kernels_tests ] || { skip compute-sanitizer "kernels_tests was not built" && return; }
  for tool in memcheck racecheck initcheck synccheck; do
    # What the vendor's kernels do is not ours to check.
    stage "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
      build-cuda/tests/kernels_tests --gtest_filter='-*cpu*:*cublas*:*cudnn*'
  done
}

measure_kernels() {
  built kernels-check benchmarks/kernels --device cuda --check
  # One kernel: the peaks and the bandwidth stand in the head.
  built limits benchmarks/kernels --device cuda --benchmark_filter='^fill/alexnet_conv1/forward/fp32/'
  built kernels benchmarks/kernels --device cuda --benchmark_min_time=0.1 "--benchmark_out=$results/kernels.json" \
    --benchmark_out_format=json
}

measure_networks() {
  for precision in fp32 tf32 bf16; do
    for mode in train infer; do
      built "layers-$mode-$precision" benchmarks/layers --model alexnet --batch 128 --device cuda --mode "$mode" \
        --precision "$precision" --csv "$results/layers-$mode-$precision.csv" \
        --json "$results/layers-$mode-$precision.json" --plot "$results/layers-$mode-$precision.png"
    done
  done
  for precision in fp32 tf32 bf16; do
    for mode in train infer; do
      local name=throughput-$mode-$precision
      built "$name" benchmarks/throughput --model alexnet --device cuda --mode "$mode" --precision "$precision" \
        --csv "$results/$name.csv" --json "$results/$name.json" --plot "$results/$name.png"
    done
  done
  # A captured step beside one that is launched kernel by kernel: at small batches the host is what is waited for.
  for graph in true false; do
    built "graph-$graph" benchmarks/throughput --model alexnet --device cuda --precision bf16 --batches 1,8,32,128 \
      --set train.cuda_graph=$graph --csv "$results/graph-$graph.csv" --json "$results/graph-$graph.json"
  done
  for graph in true false; do
    built "train-graph-$graph" tools/train --config tools/configs/synthetic.yaml --device cuda \
      --set model.name=alexnet --set data.image_size=224 --set train.batch_size=32 --set train.precision=bf16 \
      --set train.max_steps=100 --set train.cuda_graph=$graph --output "$results/train-graph-$graph"
  done
  built trace tools/train --config tools/configs/synthetic.yaml --device cuda --profile 20 \
    --set model.name=alexnet --set data.image_size=224 --set train.batch_size=32 --output "$results/trace"
}

measure_ranks() {
  local gpus scheme
  gpus=$(nvidia-smi -L | grep -c '^GPU')
  [ "$gpus" -gt 1 ] || { skip ranks "$gpus GPU: NCCL wants one for each rank" && return; }
  command -v mpirun > /dev/null || { skip ranks "no mpirun (package openmpi-bin)" && return; }
  stage ranks-tests tests/ranks/mpirun.sh "$gpus" build-cuda/tests/ranks/ranks_tests
  for scheme in data one_weird_trick; do
    stage "ranks-$scheme" tests/ranks/mpirun.sh "$gpus" build-cuda/benchmarks/ranks --model alexnet --device cuda \
      --batch $((128 * gpus)) --set train.precision=bf16 --set distributed.scheme=$scheme \
      --json "$results/ranks-$scheme.json"
  done
}

compare_with_pytorch() {
  local python why=""
  for python in "${PEERS:-build/peers}/bin/python" python3; do
    command -v "$python" > /dev/null || { why="$why no $python;" && continue; }
    "$python" -c '
import sys
import numpy, safetensors, torch, torchvision
sys.exit(None if torch.cuda.is_available() else "its PyTorch finds no GPU")' 2> "$work" &&
      stage compare-pytorch "$python" benchmarks/compare_pytorch.py --build build-cuda --device cuda --models alexnet \
        --precisions fp32,tf32,bf16 --json "$results/compare_pytorch.json" && return
    [ ! -s "$work" ] || why="$why $python: $(tail -n 1 "$work");"
    case " ${order[*]} " in *" compare-pytorch "*) return ;; esac
  done
  skip compare-pytorch "${why# } python3 -m pip install numpy torch torchvision safetensors"
}

export STRIATE_REQUIRE_GPU=1
build
if [ ! -f build-cuda/build.ninja ] || [[ " ${failed[*]-} " == *" configure "* ]]; then
  skip "everything else" "there is no configured build"
else
  # One at a time: tests share the GPU's memory.
  stage suite ctest --test-dir build-cuda --output-on-failure --no-tests=error
  if [ "$quick" = yes ]; then
    skip compute-sanitizer "--quick"
    skip benchmarks "--quick"
  else
    sanitize
    measure_kernels
    measure_networks
    measure_ranks
    compare_with_pytorch
  fi
fi
exit 0
