"""Built-in encoder plug-ins: frozen networks that turn samples into latents."""
