#!/usr/bin/env bash
# Installs the programs that Striate exchanges files with (PyTorch, torchvision, ONNX Runtime, safetensors, TensorBoard)
# into build/peers, a Python environment of its own, and runs the tests that compare with them. Without it those tests
# say SKIPPED. Downloads up to 3 GB where PyTorch's CPU wheels cannot be reached.
#   tests/peers.sh              install what is missing, build the tools, run
#   tests/peers.sh --install    install only
set -euo pipefail
cd "$(dirname "$0")/.."

run=yes
for argument in "$@"; do
  case "$argument" in
    --install) run=no ;;
    -h | --help)
      sed -n '2,6s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "tests/peers.sh: unknown option '$argument' (--install exists)" >&2
      exit 2
      ;;
  esac
done

peers=build/peers
python=$peers/bin/python
if ! { [ -x $python ] && $python -c "import torch, torchvision, onnx, onnxruntime, safetensors, tensorboard, numpy, PIL"; } 2>/dev/null; then
  python3 -m venv $peers || {
    echo "tests/peers.sh: python3 cannot make an environment; apt-get install python3-venv" >&2
    exit 1
  }
  # PyTorch's own index has wheels without CUDA, a tenth of the size; PyPI's serve as well.
  cpu_wheels="--index-url https://download.pytorch.org/whl/cpu"
  $python -m pip install --quiet --retries 0 --timeout 10 $cpu_wheels torch torchvision 2>/dev/null ||
    $python -m pip install torch torchvision
  $python -m pip install onnx onnxruntime safetensors tensorboard numpy pillow
fi
if [ $run = no ]; then
  exit 0
fi

[ -f build/build.ninja ] || [ -f build/Makefile ] || cmake --preset host
cmake --build build --target all_tools timed_steps loader_benchmark --parallel "${JOBS:-$(nproc)}"
status=0
for test in tests/peers/*_test.py; do
  $python "$test" --tools build/tools --verbose || status=1
done
exit $status
