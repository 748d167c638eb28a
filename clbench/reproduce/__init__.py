"""Published numbers as data: what is claimed, what runs it here, and how the two compare."""
