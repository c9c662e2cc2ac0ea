"""A run's event files, read by TensorBoard's own reader: tests/peers.sh installs it and runs this."""
import csv
import pathlib
import subprocess
import tempfile
import unittest

import peers

peers.need("tensorboard")

from tensorboard.backend.event_processing import event_accumulator

STOPPED_AT = 9
CONFIG = """
model: {name: lenet}
data: {dataset: synthetic, validation_fraction: 0.25, synthetic: {train_images: 96, test_images: 24}}
train: {epochs: 3, batch_size: 12, print_every: 1, clip_grad_norm: 1.0}
"""


def rows(file):
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


class Events(unittest.TestCase):
    def train(self, *arguments):
        done = subprocess.run([peers.TOOLS / "train", *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def check(self, found, tag, expected):
        """`expected`: (step, text of a csv's cell); the cells that are empty were not measured."""
        expected = [(int(step), float(value)) for step, value in expected if value != ""]
        self.assertGreater(len(expected), 0, tag)
        # The stopped run was measured where it stopped, within an epoch.
        points = [point for point in found.Scalars(tag) if tag.startswith("train/l") or point.step != STOPPED_AT]
        self.assertEqual([point.step for point in points], [step for step, _ in expected], tag)
        for point, (step, value) in zip(points, expected):
            self.assertAlmostEqual(point.value, value, delta=1e-5 * max(1.0, abs(value)), msg=f"{tag}, step {step}")

    def test_a_run_that_was_resumed(self):
        with tempfile.TemporaryDirectory() as temporary:
            config, run = pathlib.Path(temporary) / "config.yaml", pathlib.Path(temporary) / "run"
            config.write_text(CONFIG)
            self.train("--config", config, "--output", run, "--set", f"train.max_steps={STOPPED_AT}")
            self.train("--resume", run, "--set", "train.max_steps=0")
            events = event_accumulator.EventAccumulator(str(run), size_guidance={"scalars": 0})
            events.Reload()
            steps, epochs = rows(run / "steps.csv"), rows(run / "metrics.csv")
        self.assertEqual(events.file_version, 2.0)
        self.assertEqual(len(steps), 18)
        for tag, column in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
            self.check(events, tag, [(row["step"], row[column]) for row in steps])
        self.assertEqual(len(events.Scalars("train/gradient_norm")), len(steps))
        at = [6 * int(row["epoch"]) for row in epochs]
        for tag, column in (("train/epoch_loss", "train_loss"), ("train/top1", "train_top1"), ("val/loss", "val_loss"),
                            ("val/top1", "val_top1"), ("val/macro_f1", "val_macro_f1"), ("test/loss", "test_loss"),
                            ("test/top1", "test_top1")):
            self.check(events, tag, [(step, row[column]) for step, row in zip(at, epochs)])


if __name__ == "__main__":
    unittest.main()
