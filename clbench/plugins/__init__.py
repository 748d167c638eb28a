"""Finds plug-ins by name, path or entry point, and reads their settings from source."""
