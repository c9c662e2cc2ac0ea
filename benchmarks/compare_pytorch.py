#!/usr/bin/env python3
"""Times networks here and in PyTorch (and, for inference, in ONNX Runtime and OpenVINO), side by side on this machine.

The same model with the same weights works on the same batch on both sides. First logits, loss and every gradient are
compared (in tf32 and bf16 each with PyTorch's fp32); then each side, in a process of its own, is timed in turns, so that a busy
moment of the machine hits all alike. PyTorch runs in both of its layouts (default and channels_last), and the faster one counts.

  build/peers/bin/python benchmarks/compare_pytorch.py
  build/peers/bin/python benchmarks/compare_pytorch.py --models alexnet --batches 1,32,128 --modes infer
  build/peers/bin/python benchmarks/compare_pytorch.py --models alexnet --precisions bf16 --json bf16.json
  build/peers/bin/python benchmarks/compare_pytorch.py --build build-cuda --device cuda --precisions fp32,tf32,bf16

On a GPU (--device cuda, with the preset cuda's build and a PyTorch for CUDA) the other side is cuDNN and cuBLAS; each
step is timed from an idle GPU to an idle GPU on both sides, and memory is what tensors take of the GPU.

What it needs: the build (cmake --build build) and PyTorch with torchvision and safetensors, which
`tests/peers.sh --install` puts into build/peers; Debian's python3-torch serves too, where it is. ONNX Runtime and
OpenVINO are timed where they are installed (pip install onnxruntime openvino).
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from compare_sides import CASES, Peer, Striate, torch_model

PRECISIONS = {"cpu": ["fp32", "bf16"], "cuda": ["fp32", "tf32", "bf16"]}

# Differences allowed in fp32: |ours - theirs| / |theirs|, norms over all values of a tensor. Summation orders differ,
# Winograd rounds its transforms. A gradient differs by far more than its rounding wherever a ReLU's input or two pixels
# of a max-pool lie so close that the sides decide otherwise: some of millions always do, and one pixel is a visible part
# of a sum whose terms mostly cancel.
TOLERANCE = {"values": 1e-4, "gradients": 5e-2}
# In tf32 and bf16 both sides are compared with PyTorch's fp32: ours may be this many times as far from it as PyTorch's,
# or a rounding to 8 bits: bf16 stores gradients that PyTorch's autocast keeps in fp32.
FACTOR = 1.25
ROUNDING = 2.0**-8


def missing_packages():
    return [name for name in ("numpy", "torch", "torchvision", "safetensors") if importlib.util.find_spec(name) is None]


def difference(found, expected):
    import numpy

    found, expected = found.astype(numpy.float64), expected.astype(numpy.float64)
    return float(numpy.linalg.norm(found - expected) / max(numpy.linalg.norm(expected), 1e-30))


def check(found, expected, what, peer_found=None):
    """The largest differences of values and of gradients; ends the program where one is too large. With `peer_found`,
    another side's results, the differences allowed are in proportion to that side's."""
    worst = {"values": 0.0, "gradients": 0.0}
    for name, value in expected.items():
        if name not in found:
            sys.exit(f"compare_pytorch.py: {what}: Striate has no '{name}'")
        theirs = value.reshape(-1)
        ours = found[name].reshape(-1)
        if theirs.shape != ours.shape:
            sys.exit(f"compare_pytorch.py: {what}: '{name}' has {ours.size} values here, {theirs.size} in PyTorch")
        kind = "gradients" if name.startswith("gradient.") else "values"
        apart = difference(ours, theirs)
        allowed = TOLERANCE[kind]
        if peer_found is not None:
            allowed = max(ROUNDING, FACTOR * difference(peer_found[name].reshape(-1), theirs))
        if not apart <= allowed:
            sys.exit(f"compare_pytorch.py: {what}: '{name}' differs by {apart:.1e}, {allowed:.0e} is allowed: nothing "
                     "is timed")
        worst[kind] = max(worst[kind], apart)
    return worst


def burst(side, seconds):
    """Median seconds of the steps that fit into about that time; the first, after the others' turns, does not count."""
    first = side.ask(1)[0]
    steps = max(1, min(200, round(seconds / first)))
    return statistics.median(side.ask(steps))


def compare(options, case, batch, mode, precision):
    import numpy
    import safetensors.numpy
    import safetensors.torch
    import torch

    name, shape, classes, _ = CASES[case]
    height, width, channels = shape
    train = mode == "train"
    what = f"{case} {mode} {precision} batch {batch}"
    build = pathlib.Path(options.build)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        torch.manual_seed(1)
        state = torch_model(case).state_dict()
        state = {key: value.contiguous() for key, value in state.items() if not key.endswith("num_batches_tracked")}
        safetensors.torch.save_file(state, folder / "weights.safetensors")
        random = numpy.random.default_rng(2)
        images = random.standard_normal((batch, height, width, channels), dtype=numpy.float32)
        labels = (numpy.arange(batch) % classes).astype(numpy.int32)
        safetensors.numpy.save_file({"images": images, "labels": labels}, folder / "batch.safetensors")
        network = ["--model", name, "--input", f"{height},{width},{channels}", "--classes", str(classes), "--weights",
                   str(folder / "weights.safetensors")]
        ours = [str(build / "benchmarks" / "timed_steps"), *network, "--batch", str(folder / "batch.safetensors"),
                "--mode", mode, "--precision", precision, "--device", options.device, "--threads",
                str(options.threads)]
        subprocess.run([*ours, "--set", "model.dropout=0", "--results", str(folder / "results.safetensors")],
                       check=True)
        found = safetensors.numpy.load_file(folder / "results.safetensors")

        names = ["PyTorch", "PyTorch channels_last"]
        if not train and precision == "fp32" and options.device == "cpu":
            subprocess.run([str(build / "tools" / "convert"), "--from", str(folder / "weights.safetensors"), "--to",
                            str(folder / "model.onnx"), *network[:6]], check=True, stdout=subprocess.DEVNULL)
            names += [side for side, package in (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"))
                      if importlib.util.find_spec(package)]

        def peer(side, of=precision):
            return Peer(side, case, folder, train, of, options.device, threads=options.threads)

        def results(side, of=precision):
            asked = peer(side, of)
            answer = asked.ask("results")
            asked.close()
            return answer

        if precision == "fp32":
            checks = [check(found, results(side), f"{what}, {side}") for side in names]
        else:
            checks = [check(found, results("PyTorch", "fp32"), what, results("PyTorch"))]
        apart = {kind: max(each[kind] for each in checks) for kind in TOLERANCE}

        # The learning rate is PyTorch's above.
        sides = [Striate([*ours, "--set", "train.learning_rate=1e-4"]), *[peer(side) for side in names]]
        times = {side.name: [] for side in sides}
        for side in sides:
            side.ask(2)  # allocates, compiles, touches memory
        for _ in range(options.rounds):
            for side in sides:
                times[side.name].append(burst(side, options.seconds))
        memory = {side.name: side.ask("memory") for side in sides}
        versions = sides[0].ask("provenance")
        for side in sides[1:]:
            versions |= side.ask("versions")
        for side in sides:
            side.close()

    rates = {side: batch / min(found) for side, found in times.items()}
    torch_best = max((side for side in rates if side.startswith("PyTorch")), key=rates.get)
    row = {"model": case, "mode": mode, "device": options.device, "precision": precision, "batch": batch,
           "threads": options.threads, "versions": versions,
           "differences": apart, "images_per_second": rates, "peak_memory_bytes": memory,
           "ratio_to_pytorch": rates["Striate"] / rates[torch_best], "pytorch_setting": torch_best,
           "memory_ratio_to_pytorch": memory["Striate"] / memory[torch_best]}
    for side in ("ONNX Runtime", "OpenVINO"):
        if side in rates:
            row["ratio_to_" + side.lower().replace(" ", "_")] = rates["Striate"] / rates[side]
    return row


def number(row, side):
    value = row["images_per_second"].get(side)
    return f"{value:.1f}" if value else "-"


COLUMNS = [("model", 15), ("mode", 7), ("precision", 11), ("batch", 7), ("Striate", 9), ("PyTorch", 9), ("ch_last", 9),
           ("ONNX RT", 9), ("OpenVINO", 9), ("/PyTorch", 9), ("/OpenVINO", 10), ("memory/PyTorch", 15),
           ("differences", 18)]


def print_row(row):
    openvino = row.get("ratio_to_openvino")
    cells = [row["model"], row["mode"], row["precision"], str(row["batch"]), number(row, "Striate"),
             number(row, "PyTorch"), number(row, "PyTorch channels_last"), number(row, "ONNX Runtime"),
             number(row, "OpenVINO"), f"{row['ratio_to_pytorch']:.2f}", f"{openvino:.2f}" if openvino else "-",
             f"{row['memory_ratio_to_pytorch']:.2f}",
             " ".join(f"{apart:.1e}" for apart in row["differences"].values() if apart)]
    print("".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, (_, width)) in
                  enumerate(zip(cells, COLUMNS))), flush=True)


def write_json(path, document):
    beside = f"{path}.partial"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def words(text, allowed, flag, parser):
    chosen = text.split(",")
    for word in chosen:
        if word not in allowed:
            parser.error(f"{flag}: '{word}', expected some of {', '.join(allowed)}")
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", metavar="DIR", help="the build folder (default build)")
    parser.add_argument("--models", default=",".join(CASES), metavar="A,B,…", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--batches", default="", metavar="N,…", help="batch sizes (default: the model's own)")
    parser.add_argument("--modes", default="", metavar="M,…",
                        help="of train, infer (default: both for alexnet, train for the others)")
    parser.add_argument("--device", default="cpu", choices=list(PRECISIONS), help="where both sides run (cpu)")
    parser.add_argument("--precisions", default="fp32", metavar="P,…",
                        help="of fp32, bf16 and, on cuda, tf32 (default fp32)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="(all cores)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each side; the best counts (5)")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of a turn (1)")
    parser.add_argument("--json", metavar="F", help="write all figures to F")
    options = parser.parse_args()
    models = words(options.models, list(CASES), "--models", parser)
    modes = words(options.modes, ["train", "infer"], "--modes", parser) if options.modes else None
    precisions = words(options.precisions, PRECISIONS[options.device], "--precisions", parser)
    try:
        batches = [int(n) for n in options.batches.split(",")] if options.batches else None
    except ValueError:
        parser.error(f"--batches: '{options.batches}', expected numbers like 1,32,128")
    if batches and min(batches) < 1 or options.rounds < 1 or options.threads < 1 or options.seconds <= 0:
        parser.error("batch sizes, --rounds, --threads and --seconds must be positive")
    if missing := missing_packages():
        parser.exit(2, f"compare_pytorch.py: {', '.join(missing)} missing in this Python. tests/peers.sh --install puts "
                       "them into build/peers; then run build/peers/bin/python benchmarks/compare_pytorch.py\n")
    if not (pathlib.Path(options.build) / "benchmarks" / "timed_steps").exists():
        parser.exit(2, f"compare_pytorch.py: {options.build}/benchmarks/timed_steps is missing: "
                       "cmake --preset host && cmake --build build, or name the build with --build DIR\n")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"compare_pytorch.py: skipped: this PyTorch ({torch.__version__}) finds no GPU. --device cuda needs an "
              "NVIDIA GPU, its driver and a PyTorch built for CUDA")
        return
    for package in ("onnxruntime", "openvino") if options.device == "cpu" else ():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed and not timed: {sys.executable} -m pip install {package}")

    print(f"PyTorch {torch.__version__}, {options.device}, {options.threads} threads; images a second, best of "
          f"{options.rounds} turns\n")
    print("".join(name.ljust(width) if i == 0 else name.rjust(width) for i, (name, width) in enumerate(COLUMNS)))
    rows = []
    try:
        for model in models:
            for mode in modes or (["train", "infer"] if model == "alexnet" else ["train"]):
                for precision in precisions:
                    for batch in batches or CASES[model][3]:
                        rows.append(compare(options, model, batch, mode, precision))
                        print_row(rows[-1])
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f"compare_pytorch.py: {error}")
    except KeyboardInterrupt:
        print("Interrupted.")
    if options.json:
        versions = {"pytorch": torch.__version__}
        for row in rows:
            versions |= row["versions"]  # the last one's date; some rows have sides that others lack
        write_json(options.json, {"provenance": versions,
                                  "rows": [{key: value for key, value in row.items() if key != "versions"}
                                           for row in rows]})


if __name__ == "__main__":
    main()
