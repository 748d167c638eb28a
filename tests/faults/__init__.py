"""Kills, full disks, flipped bits and hostile files."""
