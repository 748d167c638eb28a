"""Makes the documentation site: pages of plug-ins, pictures, and what mkdocs needs besides."""
