"""``python -m benchmarks.peers``: what ``make bench-peers`` does."""

import argparse
import sys

from .command import __doc__ as purpose, add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=purpose)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
