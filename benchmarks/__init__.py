"""Measurements of pgqueue, each as a ratio to a floor measured in the same run on the same server."""
