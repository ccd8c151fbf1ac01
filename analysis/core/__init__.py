"""Plumbing that makes no number: files, downloads, processes, notebooks, and where a result comes from.

Read `files` first (whole or absent, and errors in one sentence), then `stage` (runs a notebook), `environment` (what it
runs in), `workers` (tasks over processes), `provenance` (digests of code and parameters).
"""
