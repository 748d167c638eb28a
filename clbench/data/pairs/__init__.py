"""All-Pairs: images of symbols that all have a partner of their type, or do not."""
