"""``python -m benchmarks``: what ``pgqueue bench`` does, from a checkout."""

import argparse
import sys

from .command import __doc__ as purpose, add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=purpose)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
