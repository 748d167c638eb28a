"""The rules that ``clbench validate`` checks on a board and its entries."""
