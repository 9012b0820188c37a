"""Benchmarks; each file is run by itself and prints what it measured."""
