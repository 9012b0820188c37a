import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decomp.platform.annotation.brush import decode, encode

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20))


def test_a_mask_is_encoded_as_label_studios_own_library_does():
    mask = np.zeros((3, 7), np.bool_)
    mask[0, 2:5] = mask[1, 1] = mask[2, 3:] = True
    # label_studio_sdk.converter.brush.encode_rle, version 2.1.2, of the mask with each value four times
    expected = [0, 0, 0, 84, 57, 27, 252, 224, 22, 255, 237, 128, 71, 255, 135, 192, 47, 255, 128]
    assert encode(mask) == expected
    np.testing.assert_array_equal(decode(expected, mask.shape), mask)


def test_pixels_of_half_opacity_and_more_are_painted():
    # The same function, of opacities 0, 1, 127, 128, 200 and 255, with other numbers in red and green.
    code = [0, 0, 0, 24, 57, 27, 248, 0, 0, 3, 194, 0, 0, 8, 0, 224, 0, 0, 2, 3, 248, 0, 224, 0, 0, 254, 4, 0, 0, 224]
    code += [0, 1, 0, 6, 64, 0, 224, 0, 1, 144, 7, 248, 0, 224, 0, 1, 254]
    assert decode(code, (2, 3)).tolist() == [[False, False, False], [True, True, True]]


@given(MASKS)
def test_a_mask_comes_back(mask):
    np.testing.assert_array_equal(decode(encode(mask), mask.shape), mask)


def test_runs_longer_than_the_longest_count_come_back():
    mask = np.zeros((300, 301), np.bool_)
    mask[100:299] = True
    np.testing.assert_array_equal(decode(encode(mask), mask.shape), mask)


@given(MASKS, st.data())
def test_blocks_of_any_kind_and_size_are_read(mask, data):
    values = np.repeat(mask.ravel(), 4) * np.uint8(255)
    bits, place = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (2, 5, 9, 16)), 0
    while place < len(values):
        size = data.draw(st.integers(0, 3))
        longest = min((2, 5, 9, 16)[size], 12)
        count = data.draw(st.integers(1, min(2**longest, len(values) - place)))
        block = values[place : place + count].tolist()
        repeated = len(set(block)) == 1 and data.draw(st.booleans())
        bits += f"{int(repeated)}{size:02b}{count - 1:0{(2, 5, 9, 16)[size]}b}"
        bits += "".join(f"{value:08b}" for value in (block[:1] if repeated else block))
        place += count
    code = [int(bits[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(bits), 8)]
    np.testing.assert_array_equal(decode(code, mask.shape), mask)


@given(MASKS, st.data())
def test_a_mask_that_is_cut_off_is_told(mask, data):
    code = encode(mask)
    with pytest.raises(ValueError, match=r"^is cut off$"):
        decode(code[: data.draw(st.integers(0, len(code) - 2))], mask.shape)


@given(st.lists(st.integers(0, 255), max_size=40))
def test_bytes_that_are_no_mask_are_told_or_read(code):
    try:
        painted = decode(code, (2, 3))
    except ValueError as error:
        painted = None
        told = str(error)
    assert told.startswith(("is ", "has ")) if painted is None else painted.shape == (2, 3)


@pytest.mark.parametrize("code", [["a"], [300], [-1], [[1, 2]], "text", {"a": 1}])
def test_what_is_no_list_of_bytes_is_told(code):
    with pytest.raises(ValueError, match=r"^is (no list of bytes|cut off)$"):
        decode(code, (2, 3))


def test_a_mask_of_another_size_is_told():
    with pytest.raises(ValueError, match="of another image: it has 12 pixels, not 5 x 7"):
        decode(encode(np.ones((3, 4), np.bool_)), (5, 7))
