"""Leaderboards: frozen protocols, entries that are checked, honest ranks, one page."""
