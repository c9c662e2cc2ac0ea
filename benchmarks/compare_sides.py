"""The sides of compare_pytorch.py: the same networks in PyTorch, ONNX Runtime, OpenVINO and here, each in a process of
its own that takes a step when it is told to."""

import json
import multiprocessing
import os
import resource
import subprocess
import time

# model, input, classes, batches
CASES = {
    "alexnet": ("alexnet", (224, 224, 3), 1000, [1, 32, 128]),
    "alexnet_cifar": ("alexnet_cifar", (32, 32, 3), 10, [256]),
    "alexnet_mini": ("alexnet_mini", (32, 32, 3), 10, [256]),
    "lenet": ("lenet", (32, 32, 3), 10, [256]),
    "resnet18": ("resnet18", (224, 224, 3), 1000, [32]),
    "resnet18_cifar": ("resnet18", (32, 32, 3), 10, [128]),
}


def torch_model(case):
    """The network of models/ in PyTorch's own modules; parameter names are the same."""
    import torch
    import torchvision
    from torch import nn

    name, (height, _, channels), classes, _ = CASES[case]
    if name == "alexnet":
        return torchvision.models.alexnet(num_classes=classes)
    if name == "resnet18":
        model = torchvision.models.resnet18(num_classes=classes)
        if height <= 64:
            model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            model.maxpool = nn.Identity()
        return model

    def relu():
        return nn.ReLU(inplace=True)

    if name == "alexnet_cifar":
        features = [nn.Conv2d(channels, 64, 3, 2, 1), relu(), nn.MaxPool2d(2, 2), nn.Conv2d(64, 192, 3, padding=1),
                    relu(), nn.MaxPool2d(2, 2), nn.Conv2d(192, 384, 3, padding=1), relu(),
                    nn.Conv2d(384, 256, 3, padding=1), relu(), nn.Conv2d(256, 256, 3, padding=1), relu(),
                    nn.MaxPool2d(2, 2)]
        classifier = [nn.Dropout(), nn.Linear(256 * 2 * 2, 4096), relu(), nn.Dropout(), nn.Linear(4096, 4096), relu(),
                      nn.Linear(4096, classes)]
    elif name == "alexnet_mini":
        features = [nn.Conv2d(channels, 32, 5, padding=2), relu(), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 3, padding=1),
                    relu(), nn.MaxPool2d(2, 2)]
        classifier = [nn.Dropout(), nn.Linear(64 * 8 * 8, 128), relu(), nn.Dropout(), nn.Linear(128, classes)]
    elif name == "lenet":
        features = [nn.Conv2d(channels, 6, 5, padding=2), relu(), nn.AvgPool2d(2, 2), nn.Conv2d(6, 16, 5), relu(),
                    nn.AvgPool2d(2, 2)]
        classifier = [nn.Linear(16 * 6 * 6, 120), relu(), nn.Linear(120, 84), relu(), nn.Linear(84, classes)]
    else:
        raise ValueError(name)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(*features)
            self.classifier = nn.Sequential(*classifier)

        def forward(self, x):
            return self.classifier(torch.flatten(self.features(x), 1))

    return Network()


def without_dropout(model):
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


# ---- what each side does: step() once set up, and its memory ----


def resident_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class CpuSide:
    """What works when step() returns, in this process's memory."""

    def synchronize(self):
        pass

    def memory(self):
        return resident_bytes()


class TorchSide:
    """PyTorch in one layout, on the cpu or, by cuDNN and cuBLAS, on a GPU."""

    def __init__(self, case, folder, train, precision, device, threads, channels_last):
        import safetensors.torch
        import torch

        torch.set_num_threads(threads)
        self.torch, self.train, self.bf16, self.device = torch, train, precision == "bf16", device
        if device == "cuda":
            # cuDNN's convolutions would take tf32 by themselves.
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
            torch.backends.cudnn.benchmark = True  # the fastest of its algorithms for these shapes
        self.model = torch_model(case)
        self.model.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"), strict=False)
        batch = safetensors.torch.load_file(folder / "batch.safetensors")
        self.images = batch["images"].permute(0, 3, 1, 2).contiguous()
        self.labels = batch["labels"].long()
        self.model = self.model.to(device)
        self.images, self.labels = self.images.to(device), self.labels.to(device)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.model.train(train)
        # As the configuration's defaults: momentum, no decay. A small rate: the loss must stay finite.
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def forward(self):
        with self.torch.autocast(self.device, self.torch.bfloat16, enabled=self.bf16):
            return self.model(self.images)

    def step(self):
        if not self.train:
            with self.torch.inference_mode():
                self.forward()
            return
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.forward().float(), self.labels)
        loss.backward()
        self.optimizer.step()

    def synchronize(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def memory(self):
        return self.torch.cuda.max_memory_reserved() if self.device == "cuda" else resident_bytes()

    def versions(self):
        """What a comparison names of this side."""
        found = {"pytorch": self.torch.__version__}
        if self.device == "cuda":
            found |= {"pytorch_gpu": self.torch.cuda.get_device_name(), "pytorch_cuda": self.torch.version.cuda,
                      "pytorch_cudnn": self.torch.backends.cudnn.version()}
        return found

    def results(self):
        without_dropout(self.model)
        if not self.train:
            with self.torch.inference_mode():
                return {"logits": self.forward().float().cpu().numpy()}
        logits = self.forward().float()
        loss = self.torch.nn.functional.cross_entropy(logits, self.labels)
        loss.backward()
        found = {"logits": logits.detach().cpu().numpy(), "loss": loss.detach().cpu().numpy()}
        for name, parameter in self.model.named_parameters():
            found["gradient." + name] = parameter.grad.contiguous().cpu().numpy()
        return found


class OnnxRuntimeSide(CpuSide):
    def __init__(self, case, folder, threads):
        import onnxruntime
        import safetensors.numpy

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        images = safetensors.numpy.load_file(folder / "batch.safetensors")["images"].transpose(0, 3, 1, 2)
        self.feed = {self.session.get_inputs()[0].name: images.copy()}

    def step(self):
        return self.session.run(None, self.feed)

    def results(self):
        return {"logits": self.step()[0]}

    def versions(self):
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}


class OpenVinoSide(CpuSide):
    def __init__(self, case, folder, threads):
        import openvino
        import safetensors.numpy

        images = safetensors.numpy.load_file(folder / "batch.safetensors")["images"].transpose(0, 3, 1, 2).copy()
        core = openvino.Core()
        model = core.read_model(folder / "model.onnx")
        model.reshape(list(images.shape))
        # It would take bfloat16 by itself where the processor has it.
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(images))

    def step(self):
        self.request.infer()

    def results(self):
        self.step()
        return {"logits": self.request.get_output_tensor().data.copy()}

    def versions(self):
        import openvino

        return {"openvino": openvino.__version__}


SIDES = {
    "PyTorch": lambda *a: TorchSide(*a, channels_last=False),
    "PyTorch channels_last": lambda *a: TorchSide(*a, channels_last=True),
    "ONNX Runtime": lambda case, folder, train, precision, device, threads: OnnxRuntimeSide(case, folder, threads),
    "OpenVINO": lambda case, folder, train, precision, device, threads: OpenVinoSide(case, folder, threads),
}


def serve(connection, name, arguments, environment):
    """In a process of its own: sets up one side and does what the connection says."""
    os.environ.update(environment)
    try:
        side = SIDES[name](*arguments)
        connection.send("ready")
        while True:
            command = connection.recv()
            if command == "results":
                connection.send(side.results())
            elif command == "memory":
                connection.send(side.memory())
            elif command == "versions":
                connection.send(side.versions())
            elif command is None:
                return
            else:
                times = []
                side.synchronize()
                for _ in range(command):
                    start = time.perf_counter()
                    side.step()
                    side.synchronize()
                    times.append(time.perf_counter() - start)
                connection.send(times)
    except EOFError:
        pass
    except Exception as error:  # told to the parent, which says which side it was
        connection.send(error if isinstance(error, RuntimeError) else RuntimeError(f"{type(error).__name__}: {error}"))


class Peer:
    def __init__(self, name, *arguments, threads):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.connection, other = context.Pipe()
        environment = {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = context.Process(target=serve, args=(other, name, (*arguments, threads), environment), daemon=True)
        self.process.start()
        other.close()
        self.receive()

    def receive(self):
        try:
            answer = self.connection.recv()
        except EOFError:
            raise RuntimeError(f"{self.name} ended by itself (out of memory?)") from None
        if isinstance(answer, Exception):
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def ask(self, command):
        self.connection.send(command)
        return self.receive()

    def close(self):
        self.connection.send(None)
        self.process.join()


class Striate:
    """build/benchmarks/timed_steps at work."""

    name = "Striate"

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        self.process.stdin.write(f"{command}\n" if isinstance(command, str) else f"go {command}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended with {self.process.wait()}")
        if command == "provenance":
            return json.loads(line)
        return int(line) if command == "memory" else [float(x) for x in line.split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
