"""Proofs over a store: keys, checkpoints, proof files, graded verification."""
