"""Masks of Label Studio's brush: run-length encoded values of red, green, blue and opacity.

The encoding is that of thi.ng/rle-pack, a stream of bits, the highest of a byte first: 32 bits hold how many values
there are, 5 the bits of a value less one, and 4 times 4 the sizes of counts less one. Then follow blocks: a bit that
says whether one value is repeated, 2 bits that choose the size of the count, the count less one, and the repeated
value, or as many values as counted.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

VALUE_BITS = 8
COUNT_BITS = (3, 4, 8, 16)
CHANNELS = 4  # of a pixel; the last one is opacity

HALF = 128
"""Opacity of a pixel whose half is covered by a stroke, of 0 to 255: from there on it counts as painted."""


def encode(inside: npt.NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask, shape (H, W), bool, as Label Studio imports them."""
    flat = inside.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    values = flat[ends - 1] * np.uint8(255)
    header = f"{CHANNELS * flat.size:032b}{VALUE_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in COUNT_BITS)
    blocks = [header]
    for value, length in zip(values.tolist(), np.diff(ends, prepend=0).tolist(), strict=True):
        left = CHANNELS * length
        while left:
            size = next((place for place, bits in enumerate(COUNT_BITS) if left <= 2**bits), len(COUNT_BITS) - 1)
            count = min(left, 2 ** COUNT_BITS[size])
            blocks.append(f"1{size:02b}{count - 1:0{COUNT_BITS[size]}b}{value:0{VALUE_BITS}b}")
            left -= count
    stream = np.frombuffer("".join(blocks).encode(), np.uint8) - ord("0")
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def decode(code: Sequence[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The painted pixels of a mask, shape (H, W), bool; those that a stroke covers by half or more.

    Raises:
        ValueError: if the bytes are no mask, are cut off, or belong to an image of another size; the message is the
            end of a sentence that begins with the mask.
    """
    try:
        packed = np.array(code, np.uint8)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError("is no list of bytes") from error
    bits = np.unpackbits(packed)
    reader = _Bits(bits)
    n_values, value_bits = reader.number(32), reader.number(5) + 1
    count_bits = [reader.number(4) + 1 for _ in range(4)]
    if n_values != CHANNELS * shape[0] * shape[1]:
        raise ValueError(f"is of another image: it has {n_values // CHANNELS} pixels, not {shape[0]} x {shape[1]}")
    if value_bits != VALUE_BITS:
        raise ValueError(f"has values of {value_bits} bits, not of {VALUE_BITS}")
    values = np.empty(n_values, np.uint8)
    place = 0
    while place < n_values:
        repeated, size = reader.number(1), reader.number(2)
        count = min(reader.number(count_bits[size]) + 1, n_values - place)
        values[place : place + count] = reader.number(VALUE_BITS) if repeated else reader.values(count)
        place += count
    painted: npt.NDArray[np.bool_] = values.reshape(*shape, CHANNELS)[..., -1] >= HALF
    return painted


class _Bits:
    """Numbers from a stream of bits, the highest bit first; `ValueError` at its end."""

    def __init__(self, bits: npt.NDArray[np.uint8]) -> None:
        self._text = (bits + np.uint8(ord("0"))).tobytes()
        self._bits = bits
        self._place = 0

    def number(self, n_bits: int) -> int:
        return int(self._text[self._advance(n_bits) : self._place], 2)

    def values(self, count: int) -> npt.NDArray[np.uint8]:
        start = self._advance(count * VALUE_BITS)
        return np.packbits(self._bits[start : self._place])

    def _advance(self, n_bits: int) -> int:
        start = self._place
        self._place += n_bits
        if self._place > len(self._text):
            raise ValueError("is cut off")
        return start
