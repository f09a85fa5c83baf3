"""Reports of a run: terminal tables, figures, Markdown, CSV and one self-contained HTML page.

Light to import: altair and jinja2 are loaded by the functions that need them.
"""
