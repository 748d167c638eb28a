"""What ``clbench validate`` asks of a board and its entries."""
