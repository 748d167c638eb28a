"""Synbols: symbols drawn on the device, every attribute known (Lacoste et al. 2020)."""
