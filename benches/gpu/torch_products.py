"""Times float32 matrix products of PyTorch on the CUDA card (cuBLAS, TF32 off), for comparison with `bench matmul`.

    python3 benches/gpu/torch_products.py

Prints a line a size, m x n x k: microseconds of a product and TFLOP/s. The second half are the products of the
classifier and of the networks in time of `nengo-wgpu bench`.
"""
import torch

torch.backends.cuda.matmul.allow_tf32 = False
SQUARE = [(size, size, size) for size in (128, 512, 1024, 2048, 4096)]
OURS = [(128, 256, 784), (128, 256, 256), (128, 10, 256), (256, 784, 128), (32, 256, 256), (3200, 256, 64), (1, 256, 784)]


def seconds(product, repeats=50):
    """Mean time of a product, after five that warm up."""
    for _ in range(5):
        product()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        product()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats * 1e-3


for m, n, k in SQUARE + OURS:
    a, b = torch.randn(m, k, device="cuda"), torch.randn(n, k, device="cuda")
    taken = seconds(lambda: a @ b.T)
    print(f"{m} x {n} x {k}: {taken * 1e6:.1f} us, {2 * m * n * k / taken / 1e12:.2f} TFLOP/s")
