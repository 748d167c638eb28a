"""Built-in model plug-ins: the networks that strategies train."""
