#!/usr/bin/env bash
# Checks benchmarks/scaling: two hosts of a rank each (tests/ranks/two_hosts.sh), a link slowed to set rates between them,
# training steps measured, and beside them what the model says of the layers' times and the rate alone. Ends with 1
# where they are further apart than 20 %.
#   benchmarks/slow_link.sh [--build DIR] [--model NAME] [--images N] [--steps N] [--data "R…"] [--trick "R…"]
#                           [--csv F]
# DIR is the folder of the build (build); N images a rank (32) and N steps measured (4); R… rates in 10^6 bytes/s for
# data parallelism (400 120 60) and for one weird trick (20 8 4). A rank computes with one thread. Says SKIPPED with
# the reason and ends with 77 where the machine does not allow it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

build=build model=alexnet images=32 steps=4 data="400 120 60" trick="20 8 4" csv=
stop() {
  echo "benchmarks/slow_link.sh: $1" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    --build | --model | --images | --steps | --data | --trick | --csv)
      [ $# -gt 1 ] || stop "$1 needs a value"
      printf -v "${1#--}" %s "$2" && shift
      ;;
    *) stop "unknown option '$1' (see --help)" ;;
  esac
  shift
done
for program in tools/train benchmarks/layers benchmarks/scaling; do
  [ -x "$build/$program" ] || stop "there is no $build/$program; build it, or name the build by --build"
done
[ "$(nproc)" -ge 2 ] || { echo "SKIPPED: two ranks need two cores" && exit 77; }
tests/ranks/two_hosts.sh true > /dev/null 2>&1
[ $? != 77 ] || { tests/ranks/two_hosts.sh true; exit 77; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Both at once, as the ranks share the machine's memory.
echo "Measuring the layers of $model, $images images, one thread, two processes at once"
for process in 1 2; do
  "$build/benchmarks/layers" --model "$model" --batch "$images" --device cpu --threads 1 --seconds 15 \
    --json "$folder/layers$process.json" > "$folder/layers$process" 2>&1 &
done
wait
[ -s "$folder/layers1.json" ] || { cat "$folder/layers1" && exit 1; }
tail -n 1 "$folder/layers1"

[ -z "$csv" ] || echo "scheme,rate,sent_bytes,predicted_ms,measured_ms,ratio" > "$csv"
printf '\n%-16s %10s %10s %10s %12s %12s %8s\n' scheme "link MB/s" "MB sent" "waited ms" "predicted ms" "measured ms" ratio
worst=ok
# check SCHEME RATE
check() {
  # Of a frame of 1514 bytes, TCP carries 1448 of ours.
  "$build/benchmarks/scaling" --model "$model" --images "$images" --batch $((2 * images)) --ranks 2 --precision fp32 \
    --compute "$folder/layers1.json" --link-rate "$(awk "BEGIN {print $2 * 1e6 * 1448 / 1514}")" \
    --csv "$folder/scaling.csv" > /dev/null || exit 1
  RATE="${2}mbps" MPIRUN_OPTIONS="--mca btl_tcp_flags send" tests/ranks/two_hosts.sh "$build/tools/train" \
    --set "model.name=$model" --set model.num_classes=1000 --set data.dataset=synthetic --set data.image_size=224 \
    --set "train.batch_size=$((2 * images))" \
    --set "distributed.scheme=$1" --device cpu --threads 1 --output "$folder/run" --profile "$steps" \
    > "$folder/train" 2>&1 || { cat "$folder/train" && exit 1; }
  measured=$(sed -n 's/^\([0-9.]*\) ms a step.*/\1/p' "$folder/train" | head -n 1)
  [ -n "$measured" ] || { cat "$folder/train" && exit 1; }
  # ranks 2, weak: bytes, wait and step
  read -r sent waited predicted <<< "$(awk -F, "\$1 == \"weak\" && \$2 == \"$1\" && \$3 == 2 {print \$5, \$8, \$9}" \
    "$folder/scaling.csv")"
  ratio=$(awk "BEGIN {printf \"%.3f\", $predicted / $measured}")
  printf '%-16s %10s %10.1f %10.0f %12.0f %12.0f %8s\n' "$1" "$2" "$(awk "BEGIN {print $sent / 1e6}")" "$waited" \
    "$predicted" "$measured" "$ratio"
  [ -z "$csv" ] || echo "$1,${2}e6,$sent,$predicted,$measured,$ratio" >> "$csv"
  awk "BEGIN {exit !($ratio < 0.8 || $ratio > 1.2)}" && worst=off
  return 0
}
for rate in $data; do check data "$rate"; done
for rate in $trick; do check one_weird_trick "$rate"; done
[ "$worst" = ok ] || { echo "Predicted and measured are further apart than 20 %" && exit 1; }
