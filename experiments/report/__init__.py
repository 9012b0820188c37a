"""The report of an experiment, from the committed cycles of its runs.

What is read and compared:

    run_history             what runs have committed, every record and timing read at most once
    axes                    what learning curves are drawn over: shares of the pool, clicks, an expert's time
    learning_curves         the learning curve of a run, the area under it, the annotation that a score needs
    cohorts                 the runs of a budget joined by seed and fold, at a cycle that all samplers have reached
    design                  which pairs are tested, and which repeats are independent blocks
    joint_budgets           which budgets are compared as one
    comparison              all samplers of a budget compared over the repeats that they share
    incomplete              what is said of repeats that are not finished
    statistics              means and intervals, the sign-flip test, Holm's correction, effect sizes
    power                   what a number of repeats can show, and how many would do
    pairs                   every pair of samplers: differences, win matrix, verdicts
    conclusions             what a comparison says in a few sentences

What is shown:

    tables, figures         a table and a drawing, with their files; the looks of samplers
    comparison_tables       the tables of a comparison
    console_tables          a selection of them for a terminal
    learning_curve_figure   the learning curves as a figure
    class_rows              what figures with a row for every class have in common
    pictures, canvas        the chosen regions on the images, and what they are drawn with

Analyses, each with its numbers, tables, figures and section of the page:

    class_scores            how well each class is recognised, the rare ones among them
    annotated_classes       what the annotation consists of, beside the pool
    class_confidence        whether class confidence knows which classes the model is bad at
    ablations               samplers that differ in one thing only
    wall_times              seconds of each phase of a cycle

What is written:

    report                  all files of a report
    page_building           what the page consists of
    page                    the page itself, one HTML file that needs nothing else (page.html is its template)
"""

import logging

# It warns where the home cannot be written; figures need nothing that it would keep there.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
