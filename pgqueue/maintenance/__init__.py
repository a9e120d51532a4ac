"""The keeper's duties: one file each, each a `run_once` that any worker may run at any time."""
