"""Weights in and out, against torchvision, ONNX Runtime and safetensors: tests/peers.sh installs them and runs this."""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import peers

peers.need("numpy", "onnx", "onnxruntime", "safetensors", "torch", "torchvision", "PIL")

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch
import torchvision
from PIL import Image

IMAGENET = ["--set", "data.normalize=imagenet"]
UNCHANGED = ["--set", "data.test_transforms=[]"]
MODELS = {"alexnet": 224, "alexnet_owt": 224, "alexnet_paper": 224, "alexnet_bn": 227, "alexnet_cifar": 32,
          "alexnet_mini": 32, "lenet": 32, "resnet18": 224}


def tool(name, *arguments):
    command = [str(peers.TOOLS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def relative(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return np.abs(found - expected).max() / np.abs(expected).max()


def noise(path, height, width, seed):
    """A picture of noise, smooth enough that a resize does not grey it out."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def imagenet_tensor(image):
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((x - mean[:, None, None]) / deviation[:, None, None])[None]


def torchvision_model(name, seed=0, **options):
    """Random weights; batch norm's statistics as they are after some training."""
    torch.manual_seed(seed)
    model = getattr(torchvision.models, name)(weights=None, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            module.num_batches_tracked.fill_(17)
    return model.eval()


def logits_of(folder, model, weights, picture, *flags):
    out = folder / "predictions.json"
    tool("predict", "--model", model, "--weights", weights, "--json", out, *flags, picture)
    return json.loads(out.read_text())[0]["logits"]


class PeerTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def assert_close(self, found, expected, tolerance, what):
        difference = relative(found, expected)
        print(f"  {what}: {difference:.1e} relative, {tolerance:.0e} allowed", flush=True)
        self.assertLessEqual(difference, tolerance, what)


class Import(PeerTest):
    def test_logits_of_torchvisions_weights(self):
        picture = noise(self.folder / "picture.png", 224, 224, seed=1)
        for name in ("alexnet", "resnet18"):
            model = torchvision_model(name)
            with torch.no_grad():
                expected = model(imagenet_tensor(Image.open(picture)))[0]
            state = model.state_dict()
            files = {"state_dict.pth": state,
                     "checkpoint.pt": {"epoch": 3, "state_dict": {"module." + k: v for k, v in state.items()}}}
            if name == "resnet18":
                files["strided.pth"] = {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v
                                        for k, v in state.items()}
                files["float64.pth"] = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
            for file, content in files.items():
                torch.save(content, self.folder / file)
            safetensors.torch.save_file(state, self.folder / "torch.safetensors")
            for file in [*files, "torch.safetensors"]:
                found = logits_of(self.folder, name, self.folder / file, picture, *UNCHANGED)
                self.assert_close(found, expected, 1e-4, f"{name} from {file}")
                (self.folder / file).unlink()

    def test_logits_of_half_precision(self):
        picture = noise(self.folder / "picture.png", 224, 224, seed=2)
        state = torchvision_model("resnet18").state_dict()
        for dtype in (torch.float16, torch.bfloat16):
            halved = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
            model = torchvision_model("resnet18")
            model.load_state_dict(halved)  # rounded to half, computed in float
            with torch.no_grad():
                expected = model(imagenet_tensor(Image.open(picture)))[0]
            torch.save(halved, self.folder / "half.pth")
            safetensors.torch.save_file(halved, self.folder / "half.safetensors")
            for file in ("half.pth", "half.safetensors"):
                found = logits_of(self.folder, "resnet18", self.folder / file, picture, *UNCHANGED)
                self.assert_close(found, expected, 1e-4, f"resnet18 from {dtype} {file}")

    def test_logits_of_a_jpeg_file(self):
        # From the file: our decoder, resize and crop against Pillow's and torchvision's.
        picture = noise(self.folder / "picture.jpg", 375, 500, seed=3)
        transforms = torchvision.transforms.Compose(
            [torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224)])
        for name in ("alexnet", "resnet18"):
            model = torchvision_model(name)
            torch.save(model.state_dict(), self.folder / "weights.pth")
            with torch.no_grad():
                expected = model(imagenet_tensor(transforms(Image.open(picture))))[0]
            found = logits_of(self.folder, name, self.folder / "weights.pth", picture)
            self.assert_close(found, expected, 1e-2, f"{name}, a JPEG file")

    def test_what_torch_wrote_before_1_6_is_refused(self):
        file = self.folder / "old.pth"
        torch.save(torchvision_model("resnet18").state_dict(), file, _use_new_zipfile_serialization=False)
        done = subprocess.run([peers.TOOLS / "inspect", "--model", "resnet18", "--weights", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("before 1.6", done.stderr)
        command = done.stderr[done.stderr.index('"import torch'):].split('"')[1]  # the way to convert it works
        subprocess.run([sys.executable, "-c", command], check=True, cwd=self.folder)
        tool("inspect", "--model", "resnet18", "--weights", self.folder / "converted.pth")

    def test_a_whole_module_is_refused(self):
        torch.save(torchvision_model("resnet18"), self.folder / "module.pth")
        done = subprocess.run([peers.TOOLS / "inspect", "--model", "resnet18", "--weights", self.folder / "module.pth"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("torchvision.models.resnet.ResNet", done.stderr)
        self.assertIn("state_dict()", done.stderr)


class Export(PeerTest):
    def test_load_state_dict_takes_it(self):
        for name in ("alexnet", "resnet18"):
            model = torchvision_model(name)
            torch.save(model.state_dict(), self.folder / "weights.pth")
            ours, exported = self.folder / "ours.safetensors", self.folder / "exported.safetensors"
            tool("convert", "--model", name, "--from", self.folder / "weights.pth", "--to", ours, "--layout", "striate")
            tool("convert", "--model", name, "--from", ours, "--to", exported)
            state = safetensors.torch.load_file(exported)
            other = torchvision_model(name, seed=1)
            other.load_state_dict(state)  # strict: every name, every shape
            for key, value in model.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    self.assertTrue(torch.equal(other.state_dict()[key], value), key)

    def test_safetensors_opens_our_files(self):
        run = self.folder / "run"
        tool("train", "--config", "tools/configs/synthetic.yaml", "--set", "train.max_steps=1", "--output", run)
        for file in [*run.glob("*.safetensors")]:
            with safetensors.safe_open(file, framework="np") as opened:
                for key in opened.keys():
                    opened.get_tensor(key)
        with safetensors.safe_open(run / "last.safetensors", framework="np") as opened:
            self.assertEqual(opened.metadata()["striate_layout"], "NHWC")
            self.assertEqual(opened.get_tensor("features.0.weight").shape[-1], 3)

    def test_onnx_runtime_gives_our_logits(self):
        cases = [(name, size, "relu") for name, size in MODELS.items()]
        cases += [("lenet", 28, activation) for activation in ("leaky_relu", "gelu", "silu")]
        # A small stem; adaptive pooling to more pixels, and to bins that overlap.
        cases += [("resnet18", 32, "silu"), ("alexnet", 80, "relu"), ("alexnet", 260, "relu")]
        for number, (name, size, activation) in enumerate(cases):
            settings = [f"model.activation={activation}", f"data.image_size={size}", "data.normalize=imagenet", "model.width=0.25",
                        "data.synthetic={train_images: 16, test_images: 4}", "train.batch_size=8", "train.max_steps=1",
                        "train.learning_rate=0.001", f"model.name={name}"]
            run, file = self.folder / f"run{number}", self.folder / "model.onnx"
            flags = [flag for setting in settings for flag in ("--set", setting)]
            tool("train", "--config", "tools/configs/synthetic.yaml", *flags, "--output", run)
            tool("convert", "--run", run, "--checkpoint", "last", "--to", file)
            onnx.checker.check_model(str(file), full_check=True)
            pictures = [noise(self.folder / f"{i}.png", size, size, seed=i) for i in range(3)]
            tool("predict", "--run", run, "--checkpoint", "last", "--json", self.folder / "p.json", *pictures)
            expected = [entry["logits"] for entry in json.loads((self.folder / "p.json").read_text())]
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            images = torch.cat([imagenet_tensor(Image.open(p)) for p in pictures]).numpy()
            found = session.run(["logits"], {"images": images})[0]
            self.assert_close(found, expected, 1e-4, f"{name} at {size}, {activation}")


class Training(PeerTest):
    """Without dropout, shuffling and augmentation, on 32 pictures of ten classes.

    A unit that rounding leaves on the other side of a ReLU's zero changes the gradients of all layers before it by
    some 1e-4; then the weights differ by more than rounding, more units change sides, and within ten steps the
    weights go their own ways. ResNet-18 has such units, so it is compared with SiLU, which has no edge, as exactly as
    AlexNet, and with ReLU by its gradients and losses.
    """

    CLASSES, PICTURES, BATCH = 10, 32, 8
    # model, size, activation, tolerance of the gradients; learning rate of ten steps, tolerances of losses and weights
    CASES = (("alexnet", 80, "relu", 1e-4, 0.01, 1e-4, 5e-3), ("resnet18", 96, "silu", 1e-4, 0.001, 1e-4, 1e-2),
             ("resnet18", 96, "relu", 1e-2, 0.001, 5e-2, None))

    def train(self, name, size, activation, steps, rate, momentum, decay):
        """Loss of every step and weights, of torchvision's model and of ours, from the same start."""
        options = {"dropout": 0.0} if name == "alexnet" else {}
        model = torchvision_model(name, num_classes=self.CLASSES, **options).train()
        for module in list(model.modules()) if activation == "silu" else []:
            if hasattr(module, "relu"):
                module.relu = torch.nn.SiLU()
        start = {k: v.clone() for k, v in model.state_dict().items()}
        torch.save(start, self.folder / "start.pth")
        images, labels = [], []
        for i in range(self.PICTURES):
            label = i * self.CLASSES // self.PICTURES  # in the order of the folders
            (self.folder / f"data/{label}").mkdir(parents=True, exist_ok=True)
            path = noise(self.folder / f"data/{label}/{i:03}.png", size, size, seed=i)
            images.append(imagenet_tensor(Image.open(path)))
            labels.append(label)
        images, labels = torch.cat(images), torch.tensor(labels)

        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
        losses = []
        for step in range(steps):
            first = step * self.BATCH % self.PICTURES
            loss = torch.nn.functional.cross_entropy(model(images[first:first + self.BATCH]),
                                                     labels[first:first + self.BATCH])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

        settings = [f"model.name={name}", f"model.activation={activation}", "model.dropout=0", "data.dataset=image_folder", f"data.path={self.folder}/data",
                    f"data.image_size={size}", "data.normalize=imagenet", "data.shuffle=false", f"train.max_steps={steps}",
                    f"train.epochs={steps}", f"train.batch_size={self.BATCH}", f"train.learning_rate={rate}",
                    f"train.optimizer={{name: sgd, momentum: {momentum}, weight_decay: {decay}}}"]
        if name == "resnet18":
            settings.append("model.stem=imagenet")
        run = self.folder / "run"
        tool("train", *[flag for s in settings for flag in ("--set", s)], "--init", self.folder / "start.pth",
             "--output", run)
        with open(run / "steps.csv") as file:
            our_losses = [float(row["loss"]) for row in csv.DictReader(file)]
        tool("convert", "--run", run, "--checkpoint", "last", "--to", self.folder / "end.safetensors")
        ours = safetensors.torch.load_file(self.folder / "end.safetensors")
        return start, losses, model.state_dict(), our_losses, ours

    def change(self, start, end):
        """All parameters' changes in one vector."""
        names = [k for k in start if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
        return torch.cat([(end[k].double() - start[k].double()).flatten() for k in names])

    def test_gradients_agree(self):
        for name, size, activation, tolerance, *_ in self.CASES:
            with self.subTest(name, activation=activation):
                # Without momentum, one step at rate 1 changes a weight by its gradient.
                start, _, theirs, _, ours = self.train(name, size, activation, steps=1, rate=1.0, momentum=0.0, decay=0.0)
                expected, found = self.change(start, theirs), self.change(start, ours)
                self.assert_close(found, expected, tolerance, f"{name}, {activation}: gradients")
            self.setUp()

    def test_ten_steps_agree(self):
        for name, size, activation, _, rate, of_losses, of_weights in self.CASES:
            with self.subTest(name, activation=activation):
                start, losses, theirs, our_losses, ours = self.train(name, size, activation, steps=10, rate=rate,
                                                                     momentum=0.9, decay=1e-4)
                self.assert_close(our_losses, losses, of_losses, f"{name}, {activation}: losses of ten steps")
                if of_weights is not None:
                    self.assert_close(self.change(start, ours), self.change(start, theirs), of_weights,
                                      f"{name}, {activation}: what ten steps change")
                    for key in theirs:
                        if key.endswith(("running_mean", "running_var")):
                            self.assertLessEqual(relative(ours[key], theirs[key]), of_weights, key)
            self.setUp()


if __name__ == "__main__":
    torch.set_num_threads(2)
    unittest.main()
