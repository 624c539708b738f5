"""The report of a suite: tables, a Markdown file and an HTML page."""
