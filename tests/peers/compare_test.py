"""benchmarks/compare_pytorch.py on a small network: it runs, and it refuses what differs."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import peers

peers.need("numpy", "torch", "torchvision", "safetensors")

import numpy as np

sys.path.insert(0, str(peers.ROOT / "benchmarks"))
import compare_pytorch


def run(*arguments):
    return subprocess.run([sys.executable, peers.ROOT / "benchmarks" / "compare_pytorch.py", "--build",
                           peers.TOOLS.parent, *map(str, arguments)], capture_output=True, text=True, cwd=peers.ROOT)


class Compare(unittest.TestCase):
    def test_training_and_inference(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "figures.json"
            done = run("--models", "lenet", "--modes", "train,infer", "--batches", "4", "--rounds", "1", "--seconds",
                       "0.01", "--json", file)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = json.loads(file.read_text())["rows"]
        self.assertEqual([row["mode"] for row in rows], ["train", "infer"])
        for row in rows:
            rates = row["images_per_second"]
            self.assertAlmostEqual(row["ratio_to_pytorch"], rates["Striate"] / rates[row["pytorch_setting"]])
            self.assertLess(row["differences"]["values"], 1e-5)
        self.assertGreater(rows[0]["differences"]["gradients"], 0.0)

    def test_what_differs_is_not_timed(self):
        values = {"logits": np.ones((2, 3)), "gradient.w": np.ones(5)}
        compare_pytorch.check(values, values, "lenet")
        for name in values:
            wrong = dict(values, **{name: values[name] * 1.2})
            with self.assertRaisesRegex(SystemExit, f"'{name}' differs"):
                compare_pytorch.check(wrong, values, "lenet")
        with self.assertRaisesRegex(SystemExit, "has no 'gradient.w'"):
            compare_pytorch.check({"logits": values["logits"]}, values, "lenet")
        # In bf16 the measure is how far PyTorch's own results are from its fp32.
        near = {name: value * 1.02 for name, value in values.items()}
        far = {name: value * 1.05 for name, value in values.items()}
        compare_pytorch.check(near, values, "lenet", near)
        with self.assertRaisesRegex(SystemExit, "differs"):
            compare_pytorch.check(far, values, "lenet", near)

    def test_bad_flags(self):
        for flags, message in ((["--models", "vgg"], "'vgg', expected some of alexnet"),
                               (["--batches", "a"], "expected numbers"), (["--rounds", "0"], "must be positive")):
            done = run(*flags)
            self.assertEqual(done.returncode, 2)
            self.assertIn(message, done.stderr)
        done = run("--build", "nowhere")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nowhere/benchmarks/timed_steps is missing", done.stderr)


if __name__ == "__main__":
    unittest.main()
