"""Codes: what the numbers or colours in a mask mean."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE

Code = int | str
"""A grey value or an index into the mask's palette, 0 to 255, or a colour such as ``"#804080"``."""


@dataclass(frozen=True)
class Codes:
    """The label of each code of a mask.

    Attributes:
        labels: the label of each code, `IGNORE` where it belongs to no class; colours as 0xRRGGBB.
        colours: whether the codes are colours.
    """

    labels: Mapping[int, int]
    colours: bool = False

    @classmethod
    def of(cls, classes: Mapping[str, Code | Iterable[Code]], ignored: Iterable[Code]) -> "Codes":
        """Codes by class, in the order of the labels, and those of no class.

        Raises:
            ValueError: if a code is malformed or stands for two classes, a class has none, numbers and colours are
                mixed, or there are more classes than labels; the message is a sentence without its full stop.
        """
        if len(classes) > IGNORE:
            raise ValueError(
                f"{len(classes)} classes are too many, since label {IGNORE} means none; give at most {IGNORE}"
            )
        meanings = [(name, label, codes) for label, (name, codes) in enumerate(classes.items())]
        found: dict[int, tuple[str, int]] = {}
        kinds = set()
        for name, label, codes in [*meanings, ("ignore", IGNORE, ignored)]:
            single = (codes,) if isinstance(codes, (int, str)) else tuple(codes)
            if not single and label != IGNORE:
                raise ValueError(f"{name} has no code; give at least one")
            for code in single:
                kinds.add(isinstance(code, str))
                number = _number(code)
                if number in found:
                    raise ValueError(f"{code!r} stands for both {found[number][0]} and {name}; give it one meaning")
                found[number] = (name, label)
        if len(kinds) > 1:
            raise ValueError("numbers and colours are mixed; a mask holds either, so give one kind")
        return cls({number: label for number, (_, label) in found.items()}, True in kinds)

    def decode(
        self, mask: npt.NDArray[np.uint8 | np.uint16], step: int = 1
    ) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        """Labels of a mask.

        Args:
            mask: numbers, shape (H, W), uint8 or uint16, or colours, shape (H, W, 3) in the order red, green, blue,
                uint8.
            step: grey levels that are shown per number, where a mask of less than 8 bits may mean either: programs
                that make files smaller write 0 and 255 as 0 and 1. The reading by which all are codes is taken.

        Returns:
            Labels, shape (H, W), uint8, `IGNORE` also where the code is unknown; the unknown codes, sorted.

        Raises:
            ValueError: if both the numbers and the levels are codes; the message is a sentence without its full stop.
        """
        if self.colours:
            return self._decode_colours(mask)
        if step > 1 and (numbers := {int(number) for number in np.unique(mask)} - {0}):
            stored, shown = numbers <= set(self.labels), {number * step for number in numbers} <= set(self.labels)
            if stored and shown:
                raise ValueError(f"may mean {max(numbers)} or {max(numbers) * step}, which are both codes")
            if shown:
                mask = mask * np.uint8(step)
        return self._decode_numbers(mask)

    def name(self, code: int) -> str:
        """A code as the user writes it."""
        return f"#{code:06x}" if self.colours else str(code)

    def _decode_numbers(self, mask: npt.NDArray[np.uint8 | np.uint16]) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        n_codes = np.iinfo(mask.dtype).max + 1
        table = np.full(n_codes, IGNORE, np.uint8)
        table[list(self.labels)] = list(self.labels.values())
        present = np.flatnonzero(cv2.calcHist([mask], [0], None, [n_codes], [0, n_codes]))
        unknown = tuple(code for code in present.tolist() if code not in self.labels)
        return np.asarray(cv2.LUT(mask, table) if n_codes == 256 else table[mask], np.uint8), unknown

    def _decode_colours(self, mask: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        red, green, blue = (mask[..., channel].astype(np.int32) for channel in range(3))
        packed = red << 16 | green << 8 | blue
        codes = np.array(sorted(self.labels), np.int32)
        nearest = np.minimum(np.searchsorted(codes, packed), len(codes) - 1)
        labels = np.array([self.labels[code] for code in codes.tolist()], np.uint8)[nearest]
        strange = codes[nearest] != packed
        labels[strange] = IGNORE
        return labels, tuple(np.unique(packed[strange]).tolist())


def _number(code: Code) -> int:
    if isinstance(code, str):
        if not re.fullmatch("#[0-9a-fA-F]{6}", code):
            raise ValueError(f"{code!r} is no colour; write it as '#804080'")
        return int(code[1:], 16)
    if not 0 <= code <= 255:
        raise ValueError(f"{code} is no value of a mask; give 0 to 255")
    return code
