"""A folder of runs as one page that needs no server and no network."""
