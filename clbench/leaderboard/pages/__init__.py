"""A board's tables and pages: Markdown, CSV, HTML, SVG."""
