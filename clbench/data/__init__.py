"""Pools: named data sets as device-resident tensors."""
