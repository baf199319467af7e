"""The archive: sealed segments in storage that nobody can rewrite, and back."""
