#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz/, preset host-fuzz) and runs every one of them.
#   tests/fuzz.sh                          thirty seconds of each, another seed every time
#   tests/fuzz.sh --seconds 300 idx image  that long, and only these
#   tests/fuzz.sh --repeatable             a fixed seed and number of runs: the same inputs for the same code, or nearly
# As many run at once as there are cores (JOBS=N). An input that ends a target is kept in build-fuzz/found/, and how to
# run it again is printed. What grows the corpus is kept in build-fuzz/corpus/ for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=30
repeatable=no
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds)
      seconds=${2:-}
      if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
        echo "tests/fuzz.sh: --seconds: expected a whole number, found '$seconds'" >&2
        exit 2
      fi
      shift
      ;;
    --repeatable) repeatable=yes ;;
    -h | --help)
      sed -n '2,7s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*)
      echo "tests/fuzz.sh: unknown option '$1' (--seconds and --repeatable exist)" >&2
      exit 2
      ;;
    *) targets+=("$1") ;;
  esac
  shift
done
jobs=${JOBS:-$(nproc)}

for name in "${targets[@]}"; do
  if ! [ -d "tests/fuzz/corpus/$name" ]; then
    echo "tests/fuzz.sh: no target '$name'; there are: $(ls tests/fuzz/corpus | tr '\n' ' ')" >&2
    exit 2
  fi
done
[ ${#targets[@]} -gt 0 ] || targets=($(ls tests/fuzz/corpus))

tools/install_packages.sh --ci
cmake --preset host-fuzz
cmake --build --preset host-fuzz --parallel "$jobs"

mkdir -p build-fuzz/found build-fuzz/logs
# The files that readers are given lie in memory where the system has such a folder.
scratch="$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/striate-fuzz-$(id -u)-$(pwd | cksum | cut -d ' ' -f 1)"
rm -rf "$scratch"
mkdir -m 700 "$scratch"
trap 'rm -rf "$scratch"' EXIT

# No reader may take more memory than its input justifies: --malloc_limit_mb is far above what inputs of max_len bytes
# need. An exception is no leak; a second is a hundred times what a reader takes.
run_target() {
  local name=$1 seconds=$2 repeatable=$3 limit=64 length=4096 runs=150000 dictionary=() effort=() fixed=()
  local corpus="build-fuzz/corpus/$name"
  case "$name" in
    cifar) length=256 runs=25000 ;;
    config) runs=8000 ;;
    tar) length=20000 runs=100000 ;;
    image) limit=128 ;; # deflated a thousandfold, and from bits to three bytes
  esac
  if [ "$repeatable" = yes ]; then
    # Addresses and paths take part in the choice of inputs, so they must be the same ones too.
    ! setarch -R true 2>/dev/null || fixed=(setarch -R)
    effort=(-runs="$runs" -seed=1 -reload=0)
    corpus="$TMPDIR/corpus-$name"
  else
    effort=(-max_total_time="$seconds")
  fi
  [ ! -f "tests/fuzz/dictionaries/$name" ] || dictionary=("-dict=tests/fuzz/dictionaries/$name")
  mkdir -p "$corpus"
  if "${fixed[@]}" "build-fuzz/tests/fuzz/fuzz_$name" "${effort[@]}" -max_len=$length -timeout=10 -rss_limit_mb=1024 \
    -malloc_limit_mb=$limit -print_final_stats=1 -artifact_prefix="build-fuzz/found/$name-" "${dictionary[@]}" \
    "$corpus" "tests/fuzz/corpus/$name" >"build-fuzz/logs/$name" 2>&1; then
    awk -v name="$name" '/number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
      / cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") coverage = $(i + 1) }
      END { printf "%-12s %9d runs, %6d a second, %5d edges covered\n", name, runs, rate, coverage }' "build-fuzz/logs/$name"
    return
  fi
  local found
  found=$(sed -n 's/.*Test unit written to //p' "build-fuzz/logs/$name" | tail -n 1)
  {
    echo "FOUND by the target $name:"
    grep -E "ERROR|runtime error|SUMMARY|fuzz: expected|terminate called|what\(\)" "build-fuzz/logs/$name" | head -n 6
    echo "  all of it:   build-fuzz/logs/$name"
    [ -z "$found" ] || echo "  the input:   $found"
    [ -z "$found" ] || echo "  once more:   build-fuzz/tests/fuzz/fuzz_$name $found"
  } >&2
  return 1
}
export -f run_target
export TMPDIR=$scratch
printf '%s\n' "${targets[@]}" |
  xargs -P "$jobs" -I NAME bash -c 'run_target "$@"' run_target NAME "$seconds" "$repeatable"
