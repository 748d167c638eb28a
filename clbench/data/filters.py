"""Image operations for the corruptions: pure functions on ``(n, C, H, W)`` floats.

Random numbers are drawn on the CPU and then moved, so that they are the same on every device.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal float32 numbers."""
    return torch.randn(shape, generator=generator, device="cpu").to(device)


def uniform(
    low: float,
    high: float,
    shape: tuple[int, ...],
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Uniform float32 numbers in ``[low, high)``."""
    unit = torch.rand(shape, generator=generator, device="cpu")
    return (low + (high - low) * unit).to(device)


def blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with one ``(rows, columns)`` CPU kernel of odd sides.

    Borders are replicated. Computed as a sum of shifted images, which on a CPU is several times
    faster than ``conv2d`` with one channel.
    """
    height, width = x.shape[-2:]
    down, right = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(x, (right, right, down, down), mode="replicate")
    out = torch.zeros_like(x)
    for row, weights in enumerate(kernel.tolist()):
        for column, weight in enumerate(weights):
            out.add_(padded[..., row : row + height, column : column + width], alpha=weight)
    return out


def gaussian_blur(x: Tensor, sigma: float, truncate: float = 4.0) -> Tensor:
    """Separable Gaussian of standard deviation ``sigma`` pixels, cut at ``truncate`` sigmas."""
    half = int(truncate * sigma + 0.5)
    if half == 0:
        return x
    offsets = torch.arange(-half, half + 1, device="cpu", dtype=torch.float64)
    line = torch.exp(-0.5 * (offsets / sigma) ** 2)
    line = line / line.sum()
    return blur(blur(x, line[:, None]), line[None, :])


def disk(radius: float, alias_sigma: float) -> Tensor:
    """``(k, k)``: a flat disk of ``radius`` pixels, smoothed by a 3x3 Gaussian; sums to 1."""
    half = int(radius) + 1
    line = torch.arange(-half, half + 1, device="cpu", dtype=torch.float32)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).float()
    edge = math.exp(-0.5 / alias_sigma**2)
    smoothing = torch.tensor([edge, 1.0, edge], device="cpu") / (1 + 2 * edge)
    kernel = F.conv2d(inside[None, None], torch.outer(smoothing, smoothing)[None, None], padding=1)
    return kernel[0, 0] / inside.sum()


def warp(x: Tensor, matrix: tuple[tuple[float, float], tuple[float, float]]) -> Tensor:
    """Sample all images bilinearly at ``matrix @ (column, row)``, in pixels from the centre.

    Outside the image is zero. One grid serves all images, which are passed as channels of one.
    """
    height, width = x.shape[-2:]
    (a, b), (c, d) = matrix
    # grid_sample measures in half sides, which differ between rows and columns.
    theta = torch.tensor(
        [[[a, b * height / width, 0.0], [c * width / height, d, 0.0]]],
        device=x.device,
        dtype=x.dtype,
    )
    folded = x.reshape(1, -1, height, width)
    grid = F.affine_grid(theta, list(folded.shape), align_corners=False)
    return F.grid_sample(folded, grid, align_corners=False).reshape(x.shape)


def zoom(x: Tensor, factor: float) -> Tensor:
    """Enlarge around the centre, bilinearly; the size stays."""
    return warp(x, ((1 / factor, 0.0), (0.0, 1 / factor)))


def sample_at(x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Sample bilinearly at ``(n, H, W)`` pixel positions; borders reflect."""
    height, width = x.shape[-2:]
    grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def pixel_grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Column and row of every pixel, each ``(H, W)`` float32."""
    rows = torch.arange(height, device=device, dtype=torch.float32)
    columns = torch.arange(width, device=device, dtype=torch.float32)
    return columns.expand(height, width), rows[:, None].expand(height, width)


def motion_blur(x: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Trail each image along its own direction: ``degrees`` is ``(n,)``, clockwise from the right.

    Weights fall off as one side of a Gaussian over at most ``2 * radius + 1`` pixels, as in
    ImageMagick; ImageMagick takes the nearest pixel, this function interpolates.
    """
    n_taps = min(2 * radius, int(4 * sigma)) + 1
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(n_taps)]
    columns, rows = pixel_grid(x.shape[-2], x.shape[-1], x.device)
    right, down = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    out = torch.zeros_like(x)
    for i, weight in enumerate(weights):
        shifted_columns = columns + i * right[:, None, None]
        shifted_rows = rows + i * down[:, None, None]
        out += weight / sum(weights) * sample_at(x, shifted_columns, shifted_rows)
    return out


def plasma(n: int, side: int, decay: float, generator: torch.Generator) -> Tensor:
    """``(n, side, side)`` clouds in [0, 1], on the CPU: the diamond-square algorithm on a torus.

    Fournier, Fussell & Carpenter 1982. The amplitude of the noise falls by ``decay ** 2`` from one
    scale to the next, smaller one.
    """
    size = 2 ** math.ceil(math.log2(max(side, 2)))
    cloud = torch.zeros(n, size, size, device="cpu")
    step, amplitude = size, 1.0

    def noisy_mean(a: Tensor, b: Tensor, dims: tuple[int, int], shifts: tuple[int, int]) -> Tensor:
        mean = (a + a.roll(shifts[0], dims[0]) + b + b.roll(shifts[1], dims[1])) / 4
        noise = uniform(-amplitude, amplitude, tuple(mean.shape), generator, mean.device)
        return mean + noise

    while step >= 2:
        half = step // 2
        corner = cloud[:, ::step, ::step]
        centre = noisy_mean(corner, corner.roll(-1, 1), (2, 2), (-1, -1))
        cloud[:, half::step, half::step] = centre
        cloud[:, ::step, half::step] = noisy_mean(corner, centre, (2, 1), (-1, 1))
        cloud[:, half::step, ::step] = noisy_mean(corner, centre, (1, 2), (-1, 1))
        step, amplitude = half, amplitude / decay**2
    low, high = cloud.amin((1, 2), keepdim=True), cloud.amax((1, 2), keepdim=True)
    return ((cloud - low) / (high - low))[:, :side, :side]
