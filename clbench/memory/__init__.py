"""Building blocks that strategies share: stores of samples."""
