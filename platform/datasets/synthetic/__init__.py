"""Synthetic data sets: digits, slides, phantom and streets, generated on demand, so that nothing is downloaded."""
