"""Search indexes of granules: from rows to bytes and back, no files.

`build` makes the terms, the root and the sections of one granule; `granule` answers from them; `rows` are sets of
rows; `container` puts the granules of a segment into one file. See docs/format.md "Search index"."""
