# A Python program with model calls begins with its trial's seed. Started again,
# it shuffles and chooses as before, asks its models the same, and gets the
# answers that are on record. What it starts itself is not touched.
import os
import random
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
os.environ.pop("PYTHONPATH", None)
random.seed(int(os.environ["RATCHET_SEED"]))

# The machine's own, in whose place this one was found.
del sys.modules["sitecustomize"]
try:
    import sitecustomize  # noqa: F401
except ImportError:
    pass
