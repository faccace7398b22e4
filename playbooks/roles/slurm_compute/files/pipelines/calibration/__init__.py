"""Software of the pipeline ``calibration``: generated raw frames, combined bias and flat, statistics and pictures.

A task is a function of one quantum: it reads ``quantum.inputs``, writes ``quantum.outputs`` and answers facts for the
record. The same quantum gives the same bytes wherever and whenever it runs: no clock, no host name, no other seed.
"""
