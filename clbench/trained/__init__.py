"""Trained strategies in hand: loaded from a run or a file, asked for answers, and exported."""
