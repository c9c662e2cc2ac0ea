"""benchmarks/compare_loader.py on a few pictures: it runs, and it refuses pixels that differ."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import peers

peers.need("numpy", "torch", "torchvision", "safetensors")


def run(*arguments):
    return subprocess.run([sys.executable, peers.ROOT / "benchmarks" / "compare_loader.py", "--build",
                           peers.TOOLS.parent, *map(str, arguments)], capture_output=True, text=True, cwd=peers.ROOT)


class Compare(unittest.TestCase):
    def test_both_sides(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "figures.json"
            done = run("--count", 16, "--batch", 8, "--workers", 1, "--rounds", 1, "--seconds", 0.05, "--json", file)
            self.assertEqual(done.returncode, 0, done.stderr)
            figures = json.loads(file.read_text())
        self.assertLessEqual(figures["differences_in_levels"]["largest"], 1.0)
        self.assertEqual(len(figures["rows"]), 2)
        for row in figures["rows"]:
            rates = row["images_per_second"]
            self.assertEqual(sorted(rates), ["Striate", "Striate, packed", "torchvision"])
            for side, ratio in row["ratios"].items():
                self.assertAlmostEqual(ratio, rates[side] / rates["torchvision"])

    def test_pixels_that_differ_are_not_timed(self):
        with tempfile.TemporaryDirectory() as folder:
            from PIL import Image
            picture = pathlib.Path(folder) / "class" / "a.png"
            picture.parent.mkdir()
            Image.new("RGB", (40, 30), (200, 10, 10)).save(picture)
            done = run("--pictures", folder, "--batch", 1, "--workers", 1, "--rounds", 1, "--seconds", 0.01)
            self.assertEqual(done.returncode, 0, done.stderr)
            # A sixteen-bit grey picture is one that Pillow clips to white.
            Image.new("I;16", (40, 30), 20000).save(picture)
            done = run("--pictures", folder, "--batch", 1, "--workers", 1, "--rounds", 1, "--seconds", 0.01)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, "the pixels differ by [0-9.]+ levels")

    def test_bad_flags(self):
        done = run("--build", "nowhere")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nowhere", done.stderr)
        self.assertEqual(run("--rounds", "none").returncode, 2)


if __name__ == "__main__":
    unittest.main()
