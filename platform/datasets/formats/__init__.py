"""File formats: images and masks, NIfTI volumes, graphs, and what the codes in a mask mean."""
