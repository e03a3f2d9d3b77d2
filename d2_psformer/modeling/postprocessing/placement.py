"""Where an image lies on the canvas of its batch."""

import math
from dataclasses import dataclass, replace

Size = tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """Sizes (height, width) of what a result passes through, pixels.

    Attributes:
        canvas: of the padded batch.
        image: of the image, in the upper left corner of the canvas; the rest is padding.
        output: of the result.
        stride: pixels of the canvas a cell of the predicted masks, along each side.
        aligned_corners: cell i is the pixel stride * i (MaX-DeepLab); else it is the square of the
            pixels from stride * i on.
    """

    canvas: Size
    image: Size
    output: Size
    stride: int
    aligned_corners: bool = False

    @property
    def valid_cells(self) -> Size:
        """Rows and columns of the masks that show the image."""
        height, width = self.image
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    @property
    def whole_canvas(self) -> "Placement":
        """The canvas as if it were the image, at its own size."""
        return replace(self, image=self.canvas, output=self.canvas)
