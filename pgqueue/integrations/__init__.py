"""pgqueue inside other people's frameworks: one module for each, which nothing else of pgqueue imports."""
