"""The study: what the paper claims, measured on data that this project can compute, and the page that tells it.

measures      what a claim is about, as values of samplers by block
claims        what the paper says, and the pairs that show whether it holds here
outcomes      these pairs in each data set and over all of them, with a verdict each
markdown      tables as Markdown
by_claim      the sections of the page about claims
by_data_set   those about data sets
page          the page, its figures and its table
command       what makes and writes them
"""
