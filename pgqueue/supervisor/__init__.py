"""Runs the processes of a program of workers: one main process, which keeps the others alive."""
