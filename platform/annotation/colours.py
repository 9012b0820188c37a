"""Colours by which annotators tell classes apart."""

import colorsys

GOLDEN = 0.61803398875
"""Turns of hue between two neighbouring classes, so that any first few are far apart."""


def class_colours(n: int) -> list[tuple[int, int, int]]:
    """Red, green and blue of each of n classes, 0 to 255, all different; the first is dark grey."""
    colours = [(64, 64, 64)]
    for number in range(1, n):
        red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.85 - 0.25 * (number % 3 == 2), 0.95)
        colour = round(255 * red), round(255 * green), round(255 * blue)
        while colour in colours:
            colour = (colour[0] + 1) % 256, colour[1], colour[2]
        colours.append(colour)
    return colours[:n]
