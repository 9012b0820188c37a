"""The report of an experiment: comparison, statistics, figures, tables and the HTML page."""
