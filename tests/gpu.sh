#!/usr/bin/env bash
# For a machine with an NVIDIA GPU: builds the preset cuda for the GPU that is there, runs the whole suite on it, then
# compute-sanitizer and the benchmarks, and writes what happened to one file. Ends with 1 if a stage failed.
#   tests/gpu.sh                      all stages
#   tests/gpu.sh --quick              without compute-sanitizer and the benchmarks
#   tests/gpu.sh --report FILE        the report's place (default: gpu-report.txt)
#   tests/gpu.sh --results DIR        where the benchmarks' tables, pictures and the trace go (default: gpu-results)
# JOBS=N sets how many compilers run at once. Needs the driver (nvidia-smi), the CUDA Toolkit 12.1 or newer (nvcc) and a
# GPU of compute capability 8.0 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no
report="gpu-report.txt"
results="gpu-results"
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --report) report=${2:?tests/gpu.sh: --report needs a file} && shift ;;
    --results) results=${2:?tests/gpu.sh: --results needs a folder} && shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "tests/gpu.sh: unknown option '$1' (see --help)" >&2 && exit 2 ;;
  esac
  shift
done

stop() {
  echo "tests/gpu.sh: $1" >&2
  exit 2
}
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

jobs=${JOBS:-$(nproc)}
mkdir -p "$results"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
{
  echo "Striate on a GPU, $(date -u '+%Y-%m-%d %H:%M:%S UTC')"
  echo "commit:   $(git rev-parse HEAD 2> /dev/null || echo unknown)$(git diff --quiet HEAD 2> /dev/null || echo ', with changes')"
  echo "machine:  $(uname -srm), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  printf '%s\n' "$gpu" | sed 's/^/gpu:      /'
  echo "nvcc:     $(nvcc --version | sed -n 's/.*release /release /p')"
  echo "compiler: $(c++ --version | head -n 1), $(cmake --version | head -n 1)"
} > "$report"
cat "$report"

# stage <name> <command…>: its output goes to the report's end, its result to the table. A stage that fails stops nothing
# but what needs it.
stages=()
stage() {
  local name=$1 start=$SECONDS result=ok
  shift
  echo "== $name"
  "$@" > "$work/$name.log" 2>&1 || result="FAILED ($?)"
  [ "$result" = ok ] || failed=1
  tail -n 3 "$work/$name.log"
  stages+=("$(printf '%-22s %-12s %5d s' "$name" "$result" $((SECONDS - start)))")
  [ "$result" = ok ]
}
skip() { stages+=("$(printf '%-22s skipped: %s' "$1" "$2")"); }

export STRIATE_REQUIRE_GPU=1
if stage configure cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=native &&
  stage build cmake --build --preset cuda --parallel "$jobs"; then
  # One at a time: tests share the GPU's memory.
  stage suite ctest --test-dir build-cuda --output-on-failure --no-tests=error || true
  if [ "$quick" = yes ]; then
    skip compute-sanitizer "--quick"
    skip benchmarks "--quick"
  else
    if command -v compute-sanitizer > /dev/null; then
      # What the vendor's kernels do is not ours to check.
      for tool in memcheck racecheck initcheck; do
        stage "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
          build-cuda/tests/kernels_tests --gtest_filter='-*cpu*:*cublas*:*cudnn*' || true
      done
    else
      skip compute-sanitizer "not on PATH (package cuda-sanitizer of the toolkit)"
    fi
    benchmarks=build-cuda/benchmarks
    for precision in fp32 tf32 bf16; do
      for mode in train infer; do
        name=throughput-$mode-$precision
        stage "$name" "$benchmarks/throughput" --model alexnet --device cuda --mode "$mode" --precision "$precision" \
          --csv "$results/$name.csv" --json "$results/$name.json" --plot "$results/$name.png" || true
      done
      stage "layers-$precision" "$benchmarks/layers" --model alexnet --batch 128 --device cuda --precision "$precision" \
        --csv "$results/layers-$precision.csv" --json "$results/layers-$precision.json" \
        --plot "$results/layers-$precision.png" || true
    done
    # A captured step beside one that is launched kernel by kernel: at small batches the host is what is waited for.
    for graph in true false; do
      stage "cuda-graph-$graph" "$benchmarks/throughput" --model alexnet --device cuda --precision bf16 \
        --batches 1,8,32,128 --set train.cuda_graph=$graph --csv "$results/cuda-graph-$graph.csv" || true
    done
    stage trace build-cuda/tools/train --config tools/configs/synthetic.yaml --device cuda --profile 20 \
      --set model.name=alexnet --set data.image_size=224 --set train.batch_size=32 --output "$results/trace" || true
    stage kernels "$benchmarks/gpu_kernels" || true
    python=${PEERS:-build/peers}/bin/python
    if [ -x "$python" ]; then
      stage compare-pytorch "$python" benchmarks/compare_pytorch.py --build build-cuda --device cuda --models alexnet \
        --precisions fp32,tf32,bf16 --json "$results/compare_pytorch.json" || true
    else
      skip compare-pytorch "no $python: tests/peers.sh --install"
    fi
  fi
fi

{
  printf '\nstages:\n'
  printf '  %s\n' "${stages[@]}"
  for log in "$work"/*.log; do
    printf '\n---- %s ----\n' "$(basename "$log" .log)"
    case "$log" in
      */throughput-* | */layers-* | */cuda-graph-* | */trace.log | */kernels.log | */compare-*) cat "$log" ;;
      *) tail -n 60 "$log" ;;
    esac
  done
} >> "$report"
printf '  %s\n' "${stages[@]}"
echo "report: $report"
exit $failed
