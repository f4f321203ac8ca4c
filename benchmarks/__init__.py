"""Figures: W1, W2 and W3 inline and through workers, on PostgreSQL and SQLite, beside what the database itself can do.

``python -m benchmarks`` (``make bench``) prints them. Absolute figures do not carry from machine to machine, so each is
also given as a multiple of R, the rate of durable one-row inserts on one connection, measured right before and after.
"""
