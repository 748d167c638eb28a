"""Built-in data plug-ins, one file per data set."""
