"""The maps of a mask decoder's heads over the image."""

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .attention import MaskMaps, SegmentAttention
from .attention_style import colours, draw_outline, heading, outline
from .fonts import font_for
from .sheets import draw_table

_WIDTH = 1400  # of all tiles in a row, pixels
_TILE_SIDES = (120, 200)
_NOTE = (
    "dark: above the head's median, pale: below; in per cent: the level's share of the attention"
)
_MIDDLE, _CONTRAST = 125, 0.35  # of the image, as light as the middle of the colours


def draw_attention_maps(
    image: np.ndarray, ids: np.ndarray, attention: SegmentAttention, name: str = "segment"
) -> np.ndarray:
    """One row for each layer and level of the mask decoder, one column for each head.

    Drawn are the scores before the softmax: masks are made of them, and they are the logarithm of
    the attention up to a constant. The softmax, which runs over all levels together, would show a
    few peaks only; each tile states its level's share of the attention instead.
    Dark cells score above the median of the head's cells on all levels, pale ones below; the colour
    hides the image the more the larger the distance, and is at its end for the last hundredth.

    Args:
        image: uint8 (H, W, 3), RGB.
        ids: integers (H, W) of panoptic_seg; the segment is outlined.
        name: class of the segment.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    heads = len(attention.maps[0].scores[0])
    least, most = _TILE_SIDES
    side = min(max(_WIDTH // (heads + 1), least), most)
    ground = _Ground(image, ids == attention.segment["id"], side)
    rows, names = [], []
    for layer in attention.maps:
        mask = ground.below(_cropped(layer.mask, attention.valid_cells[0]))
        for level, tiles in enumerate(_tiles(ground, layer, attention.valid_cells)):
            rows.append([*tiles, mask if level == 0 else None])
            height, width = layer.scores[level].shape[1:]
            names.append(f"{layer.layer}\nlevel {level + 1}\n{width} x {height}")
    columns = [*(f"head {i + 1}" for i in range(heads)), "mask"]
    title = f"{heading(attention, name)}: scores of the mask decoder's heads"
    return draw_table(rows, names, columns, title=title, note=_NOTE)


class _Ground:
    """The image in grey and the outline of the segment, at the size of a tile."""

    def __init__(self, image: np.ndarray, mask: np.ndarray, side: int):
        height, width = image.shape[:2]
        factor = side / max(height, width)
        self.size = (max(1, round(width * factor)), max(1, round(height * factor)))
        grey = Image.fromarray(image).convert("L").resize(self.size, Image.Resampling.LANCZOS)
        self.grey = _MIDDLE + _CONTRAST * (np.float32(grey)[..., None] - 128)
        self.outline = outline(mask, self.size)
        self.font = font_for("0123456789 %", max(11, side // 14))

    def below(self, values: Tensor, note: str = "") -> np.ndarray:
        """A tile: values (h, w), -1 to 1, in colours over the image, and a note in a corner."""
        large = cv2.resize(values.cpu().numpy(), self.size, interpolation=cv2.INTER_LINEAR)
        opacity = np.minimum(1, 1.5 * np.abs(large))[..., None]
        colour = colours((large + 1) / 2)
        tile = (opacity * colour + (1 - opacity) * self.grey).astype(np.uint8)
        draw_outline(tile, self.outline)
        picture = Image.fromarray(tile)
        ImageDraw.Draw(picture).text(
            (4, 2), note, (255, 255, 255), self.font, stroke_width=2, stroke_fill=(0, 0, 0)
        )
        return np.asarray(picture)


def _tiles(
    ground: _Ground, layer: MaskMaps, valid_cells: list[tuple[int, int]]
) -> list[list[np.ndarray]]:
    """For every level a tile of each head."""
    levels = [_cropped(x, cells) for x, cells in zip(layer.scores, valid_cells, strict=False)]
    cells = torch.cat([x.flatten(1) for x in levels], dim=1)
    middle = cells.median(1).values[:, None, None]
    far = (cells - middle[..., 0]).abs().quantile(0.99, dim=1).clamp(min=1e-6)[:, None, None]
    shares = [x.sum((1, 2)).tolist() for x in layer.attention]
    return [
        [
            ground.below(values, f"{100 * share:.0f} %")
            for values, share in zip((scores - middle) / far, level_shares, strict=True)
        ]
        for scores, level_shares in zip(levels, shares, strict=True)
    ]


def _cropped(level: Tensor, valid_cells: tuple[int, int]) -> Tensor:
    """(…, h, w) on the canvas -> the cells of the image, as float32."""
    rows, columns = valid_cells
    return level[..., :rows, :columns].float()
