#!/usr/bin/env bash
# Registers, shared memory, spills and theoretical occupancy of every CUDA kernel, from nvcc -Xptxas -v. No GPU needed.
#   benchmarks/kernel_resources.sh                     for sm_80 and sm_90
#   benchmarks/kernel_resources.sh --arch 86           for another one; may be given several times
#   benchmarks/kernel_resources.sh --launches FILE     what build-race/benchmarks/kernel_counters --launches FILE wrote:
#                                                      dynamic shared memory, and threads where a kernel has no bound
#   benchmarks/kernel_resources.sh --csv FILE          the table as a file
#   benchmarks/kernel_resources.sh kernels/linear      kernels of these folders or files only
# Ends with 1 where a kernel spills or has a stack. NVCC names another nvcc, JOBS=N compiles N files at once.
set -euo pipefail
cd "$(dirname "$0")/.."

archs=()
launches=/dev/null
csv=""
places=()
while [ $# -gt 0 ]; do
  case "$1" in
    --arch) archs+=("${2:?--arch needs a number, as in --arch 80}") && shift ;;
    --launches) launches=${2:?--launches needs a file} && shift ;;
    --csv) csv=${2:?--csv needs a file} && shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "kernel_resources.sh: unknown option '$1' (see --help)" >&2 && exit 2 ;;
    *) places+=("$1") ;;
  esac
  shift
done
[ ${#archs[@]} -gt 0 ] || archs=(80 90)
[ ${#places[@]} -gt 0 ] || places=(kernels)
[ -r "$launches" ] || { echo "kernel_resources.sh: cannot read '$launches'" >&2 && exit 2; }
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! "$nvcc" --version > /dev/null 2>&1; then
  echo "kernel_resources.sh: there is no nvcc on PATH nor in /usr/local/cuda/bin. Install the CUDA Toolkit or set NVCC." >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t sources < <(find "${places[@]}" -name '*.cu' | sort)
[ ${#sources[@]} -gt 0 ] || { echo "kernel_resources.sh: no .cu files in ${places[*]}" >&2 && exit 2; }

# One compilation for both: --keep leaves the PTX, which has the block sizes; ptxas says the rest.
compile() {
  local arch=$1 source=$2 folder="$work/$1/${2//\//_}"
  mkdir -p "$folder"
  "$nvcc" -std=c++20 "-arch=sm_$arch" -I. --expt-relaxed-constexpr -Xptxas -v -cubin --keep --keep-dir "$folder" \
    -o "$folder/out.cubin" "$source" > "$folder/log" 2>&1 || { cat "$folder/log" >&2 && return 1; }
  {
    sed -n 's/.*\.entry \([A-Za-z0-9_$]*\)(.*/entry \1/p; s/^\.maxntid \([0-9]*\), \([0-9]*\), \([0-9]*\).*/threads \1 \2 \3/p' \
      "$folder"/*.ptx
    cat "$folder/log"
  } | awk -v arch="$arch" -v source="$source" '
    $1 == "entry" { name = $2 }
    $1 == "threads" { threads[name] = $2 * $3 * $4 }
    /Compiling entry function/ { split($0, part, "\047"); now = part[2] }
    /bytes stack frame/ { stack[now] = $1; stores[now] = $5; loads[now] = $9 }
    /Used [0-9]+ registers/ {
      registers = shared = 0
      for (i = 1; i < NF; ++i) {
        if ($(i + 1) ~ /^registers/) registers = $i
        if ($(i + 1) == "bytes" && $(i + 2) ~ /^smem/) shared = $i
      }
      printf "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", arch, source, now, registers, shared, stack[now], stores[now],
             loads[now], threads[now]
    }' > "$folder/rows"
  rm -f "$folder"/*.ptx "$folder"/*.ii "$folder"/*.cubin "$folder"/*.c "$folder"/*.gpu "$folder"/*.cpp
}
export -f compile
export work nvcc
for arch in "${archs[@]}"; do
  for source in "${sources[@]}"; do printf '%s\0%s\0' "$arch" "$source"; done
done | xargs -0 -n 2 -P "${JOBS:-$(nproc)}" bash -c 'set -euo pipefail; compile "$1" "$2"' compile

# Names as they stand in the source: no namespaces, tiles as 128x128x16, precisions by name.
cat "$work"/*/*/rows | c++filt | sed -E '
  s/\(striate::Precision\)0/fp32/g; s/\(striate::Precision\)1/tf32/g; s/\(striate::Precision\)2/bf16/g
  s/\(anonymous namespace\):://g; s/_GLOBAL__N__[A-Za-z0-9_]*:://g; s/([A-Za-z_][A-Za-z_0-9]*::)+//g
  s/Shape<([0-9]+), ([0-9]+), ([0-9]+)[^>]*>/\1x\2x\3/g; s/\(([A-Za-z]+)\)([0-9])/\2/g; s/void ([a-z_]+_kernel)/\1/
  s/, Output[A-Za-z]*(<[^>]*>)? ?>/>/' |
  sed -E 's/\t(void )?([A-Za-z_0-9]+(<[^\t(]*>)?)\([^\t]*\)\t/\t\2\t/' > "$work/rows"

awk -F '\t' -v csv="$csv" -v launches="$launches" '
  BEGIN {
    # CUDA C++ Programming Guide, technical specifications by compute capability: bytes of shared memory, threads and
    # blocks of a multiprocessor. Registers: 65536, given out by 256 a warp, to warps in fours. Shared memory: by 128,
    # 1024 of a block reserved.
    split("80 167936 2048 32 86 102400 1536 16 89 102400 1536 24 90 233472 2048 32 100 233472 2048 32 120 102400 1536 24",
          limit, " ")
    for (i = 1; i in limit; i += 4) {
      most_shared[limit[i]] = limit[i + 1]; most_threads[limit[i]] = limit[i + 2]; most_blocks[limit[i]] = limit[i + 3]
    }
    if (csv != "") print "arch,source,kernel,registers,static_shared,dynamic_shared,stack,spill_stores,spill_loads,threads,blocks_per_multiprocessor,occupancy" > csv
    printf "%-5s %-78s %9s %8s %8s %6s %7s %6s %9s %s\n", "arch", "kernel", "registers", "static", "dynamic", "spills", "threads", "blocks", "occupancy", "bound by"
  }
  FILENAME == launches { if ($2 > block[$1]) block[$1] = $2; if ($3 >= dynamic[$1] + 0) dynamic[$1] = $3; known[$1] = 1; next }
  {
    arch = $1; name = $3; key = name
    if (!(key in known)) sub(/<.*/, "", key)
    if (name ~ /^product_kernel/ && !(name in known)) key = ""
    bytes = key in known ? dynamic[key] : (name ~ /^product_kernel/ ? "-" : 0)
    threads = $9 != "" ? $9 : (key in known ? block[key] : "-")
    blocks = occupancy = why = "-"
    if (threads != "-" && bytes != "-" && arch in most_shared) {
      warps = int((threads + 31) / 32)
      of_warp = int(($4 * 32 + 255) / 256) * 256
      by_registers = int(int(65536 / of_warp / 4) * 4 / warps)
      by_shared = $5 + bytes == 0 ? 1000 : int(most_shared[arch] / (int(($5 + bytes + 1024 + 127) / 128) * 128))
      by_threads = int(most_threads[arch] / (warps * 32))
      blocks = most_blocks[arch]; why = "blocks"
      if (by_threads <= blocks) { blocks = by_threads; why = "threads" }
      if (by_shared < blocks) { blocks = by_shared; why = "shared memory" }
      if (by_registers < blocks) { blocks = by_registers; why = "registers" }
      occupancy = sprintf("%.0f%%", 100 * blocks * warps * 32 / most_threads[arch])
    }
    spills = $7 + $8; bad += (spills > 0 || $6 > 0)
    printf "sm_%-2s %-78s %9d %8d %8s %6d %7s %6s %9s %s%s\n", arch, name, $4, $5, bytes, spills, threads, blocks, occupancy, why, ($6 > 0 ? "  STACK " $6 : "")
    if (csv != "") printf "%s,%s,\"%s\",%d,%d,%s,%d,%d,%d,%s,%s,%s\n", arch, $2, name, $4, $5, bytes, $6, $7, $8, threads, blocks, occupancy > csv
    ++count
  }
  END {
    printf "%d kernels; %d with spills or a stack\n", count, bad
    exit bad > 0
  }' "$launches" <(sort -t "$(printf '\t')" -k1,1n -k2,2 -k3,3 "$work/rows")
