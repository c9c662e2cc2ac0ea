"""Our resize beside Pillow's antialiased bilinear, on noise and on pictures with the spectrum of photographs, and on
the photographs in the folder STRIATE_PHOTOGRAPHS where that is set: tests/peers.sh installs Pillow and runs this.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest

import peers

peers.need("numpy", "safetensors", "PIL")

import numpy as np
import safetensors.numpy
from PIL import Image

LOADER = peers.TOOLS.parent / "benchmarks" / "loader"
# Height and width: down a little and far, up, one side up and the other down, one pixel, the size that it has.
SIZES = [(224, 224), (37, 61), (17, 5), (400, 520), (640, 90), (1, 1), (301, 402)]


def noise(seed, height=301, width=402):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def natural(seed, height=301, width=402):
    """Amplitudes fall with the frequency, as they do in photographs; a few edges."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(random.normal(size=(3, height, width))) / frequency
    picture = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
    picture = 128 + 50 * (picture - picture.mean()) / picture.std()
    for _ in range(5):
        top, left = random.integers(0, height), random.integers(0, width)
        picture[top:top + 40, left:left + 60] += random.normal(0, 60, 3)
    return picture.clip(0, 255).astype(np.uint8)


class Resize(unittest.TestCase):
    def resized(self, folder, height, width):
        """The pictures of a folder, [N, height, width, 3]."""
        out = pathlib.Path(folder) / "batch.safetensors"
        level = 1 / 255
        settings = [f"data.path={folder}", "data.dataset=image_folder", "data.shuffle=false", "train.batch_size=64",
                    f"data.train_transforms=[{{resize: [{height}, {width}]}}]",
                    f"data.normalize={{mean: [0, 0, 0], std: [{level}, {level}, {level}]}}"]
        command = [LOADER, "--batches", "1", "--first-batch", out]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return np.rint(safetensors.numpy.load_file(out)["images"]).astype(int)

    def compare(self, pictures, what):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "class").mkdir()
            for i, picture in enumerate(pictures):
                picture.save(pathlib.Path(folder) / "class" / f"{i:03}.png")
            for height, width in SIZES:
                expected = [np.array(p.resize((width, height), Image.Resampling.BILINEAR)) for p in pictures]
                difference = np.abs(self.resized(folder, height, width) - np.stack(expected).astype(int))
                print(f"  {what} to {height}x{width}: {difference.max()} levels at most, "
                      f"{(difference > 0).mean():.4%} of the values differ", flush=True)
                self.assertLessEqual(difference.max(), 1, f"{what} to {height}x{width}")

    def test_noise(self):
        self.compare([Image.fromarray(noise(seed)) for seed in range(3)], "noise")

    def test_pictures_like_photographs(self):
        self.compare([Image.fromarray(natural(seed)) for seed in range(3)], "natural")

    def test_photographs(self):
        folder = os.environ.get("STRIATE_PHOTOGRAPHS")
        if not folder:
            self.skipTest("STRIATE_PHOTOGRAPHS is not set")
        files = [file for file in sorted(pathlib.Path(folder).iterdir()) if file.suffix.lower() in (".jpg", ".png")]
        self.assertGreater(len(files), 0, folder)
        for file in files[:8]:
            self.compare([Image.open(file).convert("RGB")], file.name)


if __name__ == "__main__":
    unittest.main()
