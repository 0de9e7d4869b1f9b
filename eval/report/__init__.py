"""Reports of a deck, from the JSON files of its suites only: one self-contained HTML page and a Markdown file.

files      reading and writing JSON, the suites of one deck        page       the sections in their order, the two files
blocks     what sections are made of                               render     blocks as HTML; markdown: as Markdown
canvas     matplotlib -> inline SVG that follows the page's theme  plots      the pictures
published  results of others, from published.json                  samples    images, never in the committed reports

Importing this package does not import matplotlib; drawing does.
"""

from eval.report.files import (
    SCHEMA_VERSION,
    Json,
    Suites,
    read_json,
    read_suites,
    summary_line,
    write_json,
    write_text,
)
from eval.report.page import write_reports

__all__ = [
    "SCHEMA_VERSION",
    "Json",
    "Suites",
    "read_json",
    "read_suites",
    "summary_line",
    "write_json",
    "write_reports",
    "write_text",
]
