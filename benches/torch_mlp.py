"""The classifier of `nengo-wgpu bench train` in PyTorch (eager), for comparison on the same machine.

    pip install torch numpy
    python benches/torch_mlp.py [--device cpu|cuda] [--opt sgd|adam] [--graph]

784-256-256-10, batch 128, softmax cross-entropy plus 1e-4 times the sum of squares of all weights; float32, TF32 off.
Prints the median of the runs and the spread, in steps a second. With --graph a step is recorded once as a CUDA graph
and replayed, the fastest form that PyTorch has on a card.
"""
import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cpu")
parser.add_argument("--opt", choices=["sgd", "adam"], default="sgd")
parser.add_argument("--sizes", default="784-256-256-10")
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--repeats", type=int, default=9)
parser.add_argument("--graph", action="store_true")
args = parser.parse_args()

torch.backends.cuda.matmul.allow_tf32 = False
sizes = [int(s) for s in args.sizes.split("-")]
rng = np.random.RandomState(0)
tensor = lambda x: torch.tensor(x, device=args.device)  # noqa: E731
weights = [tensor((rng.randn(o, i) * (2 / i) ** 0.5).astype("f4")).requires_grad_() for i, o in zip(sizes, sizes[1:])]
biases = [torch.zeros(o, device=args.device, requires_grad=True) for o in sizes[1:-1]]
rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[args.opt](weights + biases, lr=1e-3)
x_all = tensor(rng.randn(args.steps * args.batch, sizes[0]).astype("f4"))
y_all = tensor(rng.randint(sizes[-1], size=args.steps * args.batch))


x_now, y_now = x_all[: args.batch].clone(), y_all[: args.batch].clone()


def step():
    x = x_now
    for w, b in zip(weights, biases):
        x = torch.relu(F.linear(x, w, b))
    loss = F.cross_entropy(F.linear(x, weights[-1]), y_now) + 1e-4 * sum((w**2).sum() for w in weights)
    rule.zero_grad(set_to_none=not args.graph)
    loss.backward()
    rule.step()


replay = step
if args.graph:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay = graph.replay


def run():
    if args.device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for i in range(args.steps):
        rows = slice(i * args.batch, (i + 1) * args.batch)
        x_now.copy_(x_all[rows])
        y_now.copy_(y_all[rows])
        replay()
    if args.device != "cpu":
        torch.cuda.synchronize()
    return args.steps / (time.perf_counter() - start)


run()
rates = sorted(run() for _ in range(args.repeats))
form = " graph" if args.graph else ""
print(f"torch {torch.__version__} {args.device}{form} {args.opt}: {statistics.median(rates):.1f} steps/s "
      f"(runs {rates[0]:.1f} to {rates[-1]:.1f})")
