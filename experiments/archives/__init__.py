"""Results of an experiment in one file, which others can read, compare with and import.

archive      what an archive holds, and how it is read and checked
exporting    `decomp export` writes one
importing    `decomp import` adds its runs to the results of an experiment
"""
