"""One verdict over several experiments (Sec. 15 of the method notes).

pooled        blocks of all data sets, the pooled test of every pair, what each data set adds
ranking       mean ranks, merged wins, agreement of the data sets
efficiency    foreground efficiency: how fast a sampler's score rises with the annotated foreground
tables        all of it as tables
forest        every pair at a glance
sentences     what it says in words
page          the page and its files
"""
