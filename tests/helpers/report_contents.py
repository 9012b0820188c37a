"""What a reader sees in a report's tables and drawings."""

import cv2
import numpy as np


def rows(table):
    """The rows of a table as dictionaries."""
    return [dict(zip(table.heads, row, strict=True)) for row in table.rows]


def colour_pixels(drawing, colour):
    """How many pixels of a drawing have a colour, ``#RRGGBB``."""
    return (pixels_of(drawing) == [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).all(axis=-1).sum()


def pixels_of(drawing):
    """The pixels of a drawing, shape (height, width, 3), red first."""
    return cv2.imdecode(np.frombuffer(drawing.png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
