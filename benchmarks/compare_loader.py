#!/usr/bin/env python3
"""Times the loading of pictures here and by torchvision's transforms on Pillow with PyTorch's DataLoader, side by side.

Both sides read the same JPEGs, made for it like ImageNet's: 500x375 pixels, quality 95, about 160 kB, in class folders.
First both make the same pixels by a pipeline without chance (resize 256, centre crop 224), which must be within one
8-bit level of each other; then each side is timed in turns, so that a busy moment of the machine hits both alike. The
packed pictures are the same ones, packed with their shorter side at 256; torchvision has no such file, so they are
compared with its JPEGs through the same transforms.

  build/peers/bin/python benchmarks/compare_loader.py
  build/peers/bin/python benchmarks/compare_loader.py --workers 4 --rounds 5 --json loader.json
  build/peers/bin/python benchmarks/compare_loader.py --pictures /data/imagenet10/val
  build/peers/bin/python benchmarks/compare_loader.py --train

What it needs: the build (cmake --build build) and PyTorch with torchvision and safetensors, which
`tests/peers.sh --install` puts into build/peers.
"""

import argparse
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, RESIZED = 224, 256
PIPELINES = {
    "resize 256, random crop 224": f"[{{resize: {RESIZED}}}, {{random_crop: {SIDE}}}, horizontal_flip]",
    "random resized crop 224": f"[{{random_resized_crop: {SIDE}}}, horizontal_flip]",
}
CHECKED = f"[{{resize: {RESIZED}}}, {{center_crop: {SIDE}}}]"
WARM_UP = 4  # batches


# ---- pictures ----

def picture(random):
    """Noise whose spectrum falls as natural pictures' does, with edges drawn over it and a camera's grain."""
    import numpy
    from PIL import Image, ImageDraw

    height, width = 375, 500
    frequency = numpy.hypot(numpy.fft.fftfreq(height)[:, None], numpy.fft.rfftfreq(width)[None])
    frequency[0, 0] = numpy.inf

    def plane():
        spectrum = random.standard_normal(frequency.shape) + 1j * random.standard_normal(frequency.shape)
        values = numpy.fft.irfft2(spectrum / frequency**1.2, s=(height, width))
        return values / values.std()

    light, warm, cold = plane(), plane(), plane()
    colours = numpy.stack([45 * light + 12 * warm, 45 * light, 45 * light + 12 * cold], axis=-1)
    image = Image.fromarray(numpy.clip(colours + random.uniform(90, 150), 0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius = (int(v) for v in random.integers([0, 0, 10], [width, height, 80]))
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        if random.random() < 0.5:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=3)
        else:
            corners = random.integers(-radius, radius + 1, (4, 2)) + [x, y]
            draw.polygon([tuple(int(v) for v in corner) for corner in corners], fill=colour)
    grain = 24 * random.standard_normal((height, width, 1))
    return Image.fromarray(numpy.clip(numpy.asarray(image) + grain, 0, 255).astype(numpy.uint8))


def make_pictures(folder, count):
    import numpy

    random = numpy.random.default_rng(1)
    sizes = []
    for i in range(count):
        buffer = io.BytesIO()
        picture(random).save(buffer, "JPEG", quality=95)
        place = folder / f"class{i % 8}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:05d}.JPEG").write_bytes(buffer.getvalue())
        sizes.append(len(buffer.getvalue()))
    mean = sum(sizes) / count
    if not 140e3 <= mean <= 180e3:
        raise RuntimeError(f"the pictures have {mean / 1e3:.0f} kB on average, not the 160 kB of ImageNet's")
    return mean


# ---- the two sides ----

def torch_transforms(name):
    from torchvision import transforms

    steps = {
        "resize 256, random crop 224": [transforms.Resize(RESIZED), transforms.RandomCrop(SIDE),
                                        transforms.RandomHorizontalFlip()],
        "random resized crop 224": [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()],
        CHECKED: [transforms.Resize(RESIZED), transforms.CenterCrop(SIDE)],
    }[name]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)])


def torch_rate(folder, name, options, seconds):
    """Images a second of a DataLoader from its fifth batch on."""
    import torch
    from torchvision.datasets import ImageFolder

    pictures = ImageFolder(folder, torch_transforms(name))
    endless = torch.utils.data.RandomSampler(pictures, replacement=True, num_samples=1 << 30)
    loader = torch.utils.data.DataLoader(pictures, batch_size=options.batch, sampler=endless,
                                         num_workers=options.workers)
    batches = iter(loader)
    for _ in range(WARM_UP):
        next(batches)
    begin, images = time.perf_counter(), 0
    while images == 0 or time.perf_counter() - begin < seconds:
        images += len(next(batches)[1])
    rate = images / (time.perf_counter() - begin)
    del batches, loader  # ends its workers
    return rate


def dataset_flags(dataset, path, transforms, options):
    return ["--set", f"data.dataset={dataset}", "--set", f"data.path={path}", "--set", "data.normalize=imagenet",
            "--set", f"data.train_transforms={transforms}", "--set", f"data.test_transforms={CHECKED}",
            "--set", f"train.batch_size={options.batch}", "--set", f"data.workers={options.workers}"]


def program(options, *names):
    return str(pathlib.Path(options.build).joinpath(*names))


def our_figures(flags, options, batches, more=()):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "figures.json"
        subprocess.run([program(options, "benchmarks", "loader"), *flags, "--batches", str(batches), "--json",
                        str(file), *more], check=True, stdout=subprocess.DEVNULL)
        document = json.loads(file.read_text())
        options.provenance = document["provenance"]
        return document


def best_of_turns(sides, options):
    """The best rate of each side: {name: function of seconds → rate}."""
    rates = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, rate in sides.items():
            rates[name].append(rate(options.seconds))
    return {name: max(found) for name, found in rates.items()}


def our_side(flags, options):
    known = {}

    def rate(seconds):
        if "rate" not in known:
            known["rate"] = our_figures(flags, options, 10)["images_per_second"]
        batches = max(10, round(seconds * known["rate"] / options.batch))
        figures = our_figures(flags, options, batches)
        known["rate"] = figures["images_per_second"]
        known.setdefault("core_ms", []).append(figures["core_ms_per_image"])
        return figures["images_per_second"]

    rate.known = known
    return rate


# ---- what is compared ----

def check_pixels(folder, options):
    """The largest difference in 8-bit levels over the pictures of a batch; ends the program where it is above one."""
    import numpy
    import safetensors.numpy
    import torch
    from torchvision.datasets import ImageFolder

    with tempfile.TemporaryDirectory() as temporary:
        file = pathlib.Path(temporary) / "batch.safetensors"
        flags = dataset_flags("image_folder", folder, CHECKED, options) + ["--set", "data.shuffle=false"]
        our_figures(flags, options, 1, ["--first-batch", str(file)])
        found = safetensors.numpy.load_file(file)
    pictures = ImageFolder(folder, torch_transforms(CHECKED))
    expected = torch.stack([pictures[i][0] for i in range(len(found["images"]))]).permute(0, 2, 3, 1).numpy()
    differences = numpy.abs(found["images"] - expected) * numpy.array(DEVIATION) * 255
    if found["labels"].tolist() != [pictures.targets[i] for i in range(len(found["labels"]))]:
        raise RuntimeError("both sides read other pictures")
    if differences.max() > 1.01:
        raise RuntimeError(f"the pixels differ by {differences.max():.2f} levels")
    return {"largest": float(differences.max()), "mean": float(differences.mean())}


def compare(folder, options):
    rows = []
    packed = pathlib.Path(options.temporary) / "pictures.pack"
    if pathlib.Path(program(options, "tools", "pack")).exists():
        subprocess.run([program(options, "tools", "pack"), "--set", "data.dataset=image_folder", "--set",
                        f"data.path={folder}", "--resize", str(RESIZED), "--output", str(packed)], check=True,
                       stdout=subprocess.DEVNULL)
    else:
        print("tools/pack is not built: packed pictures are not timed")
    for name, transforms in PIPELINES.items():
        sides = {"torchvision": lambda seconds, of=name: torch_rate(folder, of, options, seconds),
                 "Striate": our_side(dataset_flags("image_folder", folder, transforms, options), options)}
        if packed.exists():
            sides["Striate, packed"] = our_side(dataset_flags("packed", packed, transforms, options), options)
        rates = best_of_turns(sides, options)
        row = {"pipeline": name, "images_per_second": rates,
               "core_ms_per_image": {side: min(of.known["core_ms"]) for side, of in sides.items()
                                     if side != "torchvision"},
               "ratios": {side: rate / rates["torchvision"] for side, rate in rates.items() if side != "torchvision"}}
        rows.append(row)
        print_row(name, rates, row["ratios"])
    if options.train and packed.exists():
        return rows, training(packed, sum(1 for _ in folder.glob("*/*")), options)
    return rows, None


def training(packed, pictures, options):
    """The share of alexnet's training steps on the cpu that loading takes: with packed pictures, and without any."""
    batch = max(1, min(options.batch, pictures // 8))  # an epoch is what can be timed
    flags = ["--model", "alexnet", "--classes", "1000", "--device", "cpu", "--batches", str(batch), "--seconds",
             str(2 * options.seconds)]
    data = dataset_flags("packed", packed, PIPELINES["resize 256, random crop 224"], options)

    def step(more):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "rows.json"
            subprocess.run([program(options, "benchmarks", "throughput"), *flags, *more, "--json", str(file)],
                           check=True, stdout=subprocess.DEVNULL)
            return json.loads(file.read_text())["rows"][0]["step_ms"]

    times = {"with": [], "without": []}
    for _ in range(options.rounds):
        times["without"].append(step([]))
        times["with"].append(step(["--data", "config", *data]))
    with_loading, without = min(times["with"]), min(times["without"])
    share = 1 - without / with_loading
    print(f"\nalexnet, batch {batch}: a training step takes {with_loading:.0f} ms with packed pictures, "
          f"{without:.0f} ms with none to load: loading is {100 * share:.1f}% of it")
    return {"batch": batch, "step_ms": with_loading, "step_ms_without_loading": without, "share": share}


def print_row(name, rates, ratios):
    ours = ", ".join(f"{side} {rates[side]:.0f} ({ratio:.2f}x)" for side, ratio in ratios.items())
    print(f"{name}: torchvision {rates['torchvision']:.0f} images/s, {ours}", flush=True)


def write_json(path, document):
    beside = f"{path}.partial"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    os.replace(beside, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", metavar="DIR", help="the build folder (default build)")
    parser.add_argument("--pictures", metavar="DIR", help="class folders of your own instead of made pictures")
    parser.add_argument("--count", type=int, default=256, metavar="N", help="pictures to make (256)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="of both sides (2)")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="(64)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each side; the best counts (3)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of a turn (3)")
    parser.add_argument("--train", action="store_true",
                        help="also measure what loading packed pictures costs a training step of alexnet on the cpu")
    parser.add_argument("--json", metavar="F", help="write all figures to F")
    options = parser.parse_args()
    if min(options.workers, options.batch, options.rounds) < 1 or options.count < 8 or options.seconds <= 0:
        parser.error("--workers, --batch, --rounds and --seconds must be positive, --count 8 at least")
    missing = [name for name in ("numpy", "torch", "torchvision", "PIL", "safetensors")
               if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(2, f"compare_loader.py: {', '.join(missing)} missing in this Python. tests/peers.sh --install puts "
                       "them into build/peers; then run build/peers/bin/python benchmarks/compare_loader.py\n")
    if not pathlib.Path(program(options, "benchmarks", "loader")).exists():
        parser.exit(2, f"compare_loader.py: {options.build}/benchmarks/loader is missing: "
                       "cmake --preset host && cmake --build build, or name the build with --build DIR\n")

    import PIL
    import torch
    import torchvision

    try:
        with tempfile.TemporaryDirectory() as temporary:
            options.temporary = temporary
            if options.pictures:
                folder = pathlib.Path(options.pictures)
                print(f"pictures of {folder}")
            else:
                folder = pathlib.Path(temporary) / "pictures"
                kilobytes = make_pictures(folder, options.count) / 1e3
                print(f"{options.count} JPEGs of 500x375 pixels, {kilobytes:.0f} kB on average")
            apart = check_pixels(folder, options)
            print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}, {options.workers} workers, "
                  f"batches of {options.batch}; best of {options.rounds} turns\n"
                  f"resize {RESIZED}, centre crop {SIDE}: the pixels differ by {apart['largest']:.2f} levels at most, "
                  f"{apart['mean']:.4f} on average\n")
            rows, train = compare(folder, options)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f"compare_loader.py: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
    if options.json:
        write_json(options.json, {"provenance": options.provenance, "torch": torch.__version__, "torchvision": torchvision.__version__,
                                  "pillow": PIL.__version__, "workers": options.workers, "batch": options.batch,
                                  "differences_in_levels": apart, "rows": rows, "training": train})


if __name__ == "__main__":
    main()
