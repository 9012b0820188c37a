"""Cuts the first two rows and the legend out of a report's `chosen_regions.png`: regions_figure.py FROM TO."""

import sys

import cv2
import numpy as np

ROWS, SHOWN = 4, 2
LEGEND = 40  # pixels at the foot

picture = cv2.imread(sys.argv[1])
rows, legend = np.split(picture, [len(picture) - LEGEND])
cut = np.concatenate([rows[: len(rows) * SHOWN // ROWS], legend])
cv2.imwrite(sys.argv[2], cut, [cv2.IMWRITE_PNG_COMPRESSION, 9])
