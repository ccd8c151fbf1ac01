"""What keeps the repository, and no stage imports: release, recheck, verify, guide, benchmarks, faults.

Read `release` (what Git keeps of a run) and `verify` (a run against it) first.
"""
