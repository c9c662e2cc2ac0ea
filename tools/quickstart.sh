#!/usr/bin/env bash
# From a fresh clone to a trained network: installs what is missing, builds the tools, trains alexnet_mini on the 60,000
# images of Fashion-MNIST, measures it on the 10,000 test images and says where the figures are.
#   tools/quickstart.sh            every run gets a folder of its own: runs/quickstart, runs/quickstart-2, …
# JOBS=N sets how many compilers run at once (default: every core).
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") ;;
  -h | --help)
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  *)
    echo "quickstart.sh takes no arguments; for other networks and data see build/tools/train --help" >&2
    exit 2
    ;;
esac

bold="" plain=""
if [ -t 1 ] && [ -n "${TERM:-}" ] && [ "$TERM" != dumb ]; then
  bold=$'\e[1m' plain=$'\e[0m'
fi
step() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

step "1/4  Packages"
tools/install_packages.sh
echo "Everything needed is installed."

step "2/4  Build (a few minutes the first time)"
log=build/quickstart.log
mkdir -p build
# A folder that is configured already, with tests or without, is built as it is.
if [ ! -f build/CMakeCache.txt ]; then
  without_tests=(-DSTRIATE_BUILD_TESTS=OFF -DSTRIATE_BUILD_BENCHMARKS=OFF -DSTRIATE_WARNINGS_AS_ERRORS=OFF)
fi
if ! cmake --preset host ${without_tests[@]+"${without_tests[@]}"} >"$log" 2>&1; then
  cat "$log" >&2
  echo "quickstart.sh: the build could not be configured; the messages above are in $log" >&2
  exit 1
fi
began=$SECONDS
cmake --build --preset host --parallel "${JOBS:-$(nproc)}" --target all_tools
echo "Built in $((SECONDS - began)) s: build/tools/"

run=runs/quickstart
for ((number = 2; ; ++number)); do
  [ -e "$run" ] || break
  run=runs/quickstart-$number
done

step "3/4  Train alexnet_mini on Fashion-MNIST, into $run"
began=$SECONDS
build/tools/train --config tools/configs/quickstart.yaml --output "$run"
echo "Trained in $((SECONDS - began)) s."

step "4/4  Measure it on the 10,000 test images"
build/tools/evaluate --run "$run" --split test

step "Done"
cat <<END
Figures       $run/training_metrics.png   loss, accuracy and learning rate
              $run/confusion_test.png     which class is taken for which
Numbers       $run/metrics.csv            a row an epoch
Weights       $run/best.safetensors
TensorBoard   tensorboard --logdir $run

What to try next
  build/tools/inspect --model alexnet                       layers, shapes, parameters
  build/tools/train --config tools/configs/fashion_mnist_alexnet_cifar.yaml   a larger network, half an hour
  build/tools/train --config tools/configs/quickstart.yaml --set train.optimizer.name=adam --set train.learning_rate=0.001
  build/tools/train --help                                  every flag, with examples
  tests/run.sh                                              builds and runs all tests
END
