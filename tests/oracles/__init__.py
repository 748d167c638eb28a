"""Independent loops for the strategies, written from the papers, and what holds ours to them.

A loop takes a stream's tensors and the initial weights, and nothing else of clbench. Where a strategy
draws at random, the loop is told which samples were drawn, and looks everything else up for itself.
``python -m tests.oracles`` prints the table of differences.
"""
