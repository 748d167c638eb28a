"""Bridges to other libraries: run their strategies in clbench, and clbench's in their loops."""
