"""Deformable convolution v3 (DCNv3) in plain PyTorch.

Wang et al., "InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions", CVPR 2023,
Eq. 2: in each of G groups of channels

    y(q) = sum_k m_k(q) x(q + p_k + Delta p_k(q)),

x(.) being interpolated bilinearly and 0 outside the image, p_k the points of an ordinary convolution's kernel, and
the offsets Delta p_k and the modulation m_k, which sums to 1 over k, both computed from the input at q.
"""

import torch
from torch import nn
from torch.nn import functional

from decomp.platform.learners.networks.channels import ToChannelsLast

KERNEL = 3
"""Side of the kernel in InternImage."""


def deformable_sum(
    values: torch.Tensor,
    offsets: torch.Tensor,
    modulation: torch.Tensor,
    *,
    groups: int,
    kernel: int = KERNEL,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    offset_scale: float = 1.0,
) -> torch.Tensor:
    """The operator's sum over the kernel's K = kernel ** 2 points, in column-by-column order.

    All points and groups are sampled by one `grid_sample`, whose output, K times as large as the operator's, is what
    backward needs memory for; checkpointing the block avoids that. Below float64 the arithmetic is in float32, because
    bfloat16 cannot tell the coordinates of neighbouring pixels apart.

    Args:
        values: shape (N, H, W, C), float.
        offsets: Delta p in pixels, shape (N, H', W', G * K * 2), each point's x before its y.
        modulation: m, shape (N, H', W', G * K).
        groups: number of groups G of neighbouring channels.
        kernel: side of the kernel.
        stride: pixels of the input per pixel of the output.
        padding: by how many pixels the outermost kernel centres lie outside of where an unpadded kernel would fit.
        dilation: pixels between neighbouring points of the kernel.
        offset_scale: what kernel points and offsets are multiplied by.

    Returns:
        Shape (N, H', W', C), of the type of `values`.
    """
    n, height, width, channels = values.shape
    out_height, out_width, n_points = offsets.shape[1], offsets.shape[2], kernel**2
    exact = torch.promote_types(values.dtype, torch.float32)
    reach = dilation * (kernel - 1) // 2

    def along(axis_pixels: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel centres, and kernel points relative to them, along one axis, in pixels."""
        centres = torch.arange(axis_pixels, device=values.device, dtype=exact) * stride + reach - padding
        return centres, (torch.arange(kernel, device=values.device, dtype=exact) * dilation - reach) * offset_scale

    (rows, down), (columns, across) = along(out_height), along(out_width)
    # Positions of the undisplaced points, shape (K, H', W', 2); pixel 0 extends from -1 to -1 + 2 / size.
    x = (across.repeat_interleave(kernel)[:, None] + columns + 0.5) * (2 / width) - 1
    y = (down.repeat(kernel)[:, None] + rows + 0.5) * (2 / height) - 1
    shape = (n_points, out_height, out_width)
    still = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    unit = torch.tensor([2 * offset_scale / width, 2 * offset_scale / height], device=values.device, dtype=exact)

    moved = offsets.to(exact).reshape(n, -1, groups, n_points, 2).permute(0, 2, 3, 1, 4)
    grid = (moved * unit + still.reshape(n_points, -1, 2)).reshape(n * groups, n_points, -1, 2)
    planes = values.to(exact).reshape(n, height, width, groups, -1).permute(0, 3, 4, 1, 2)
    planes = planes.reshape(n * groups, -1, height, width)
    sampled = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    weights = modulation.to(exact).reshape(n, -1, groups, n_points).permute(0, 2, 3, 1)
    summed = (sampled * weights.reshape(n * groups, 1, n_points, -1)).sum(2)  # (N * G, C / G, H' * W')
    return summed.reshape(n, channels, out_height, out_width).permute(0, 2, 3, 1).to(values.dtype)


class DeformableConv(nn.Module):
    """DCNv3 layer with 3 x 3 kernels: (N, H, W, C) to (N, H, W, C).

    Names and arithmetic of the parameters are those of the released weights.

    Args:
        channels: number of channels C.
        groups: number of groups, a divisor of C.
        offset_scale: what kernel points and offsets are multiplied by.
    """

    def __init__(self, channels: int, groups: int, offset_scale: float = 1.0) -> None:
        super().__init__()
        self.groups, self.offset_scale = groups, offset_scale
        points = groups * KERNEL**2
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels),
            nn.Sequential(ToChannelsLast(), nn.LayerNorm(channels, eps=1e-6)),
            nn.GELU(),
        )
        self.offset = nn.Linear(channels, 2 * points)
        self.mask = nn.Linear(channels, points)
        self.input_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Start as an average over the kernel's points, without offsets."""
        for layer in (self.offset, self.mask):
            nn.init.zeros_(layer.weight)
        for layer in (self.input_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.offset, self.mask, self.input_proj, self.output_proj):
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter a batch of channels-last maps."""
        n, height, width, _ = x.shape
        local = self.dw_conv(x.permute(0, 3, 1, 2))
        modulation = self.mask(local).reshape(n, height, width, self.groups, -1).softmax(-1).flatten(3)
        summed = deformable_sum(
            self.input_proj(x), self.offset(local), modulation, groups=self.groups, offset_scale=self.offset_scale
        )
        projected: torch.Tensor = self.output_proj(summed)
        return projected
