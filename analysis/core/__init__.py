"""Infrastructure that computes no results: files, downloads, processes, running notebooks, provenance.

Read `files` first (files written whole or not at all, and `BorderError`), then `stage` (runs a notebook), `environment`
(the settings it runs with), `workers` (tasks over processes), `provenance` (digests of code and parameters), `download`
(verified files); `paths`, `tables` and `progress` are small.
"""
