# A Python program with model calls begins with its trial's seed, and so does each
# process that it forks, with one of its own. Started again, it shuffles and
# chooses as before, asks its models the same, and gets the answers that are on
# record. Programs that it starts are not touched.
import os
import random
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
os.environ.pop("PYTHONPATH", None)


class _Chance:
    """The name of this process's seed, and how many others it has forked."""

    def __init__(self, name):
        self.name, self.forks = name, 0
        random.seed(name)

    def fork(self):
        self.forks += 1

    def forked(self):  # after random has taken a seed of the system's
        self.__init__("%s.%d" % (self.name, self.forks))


_chance = _Chance(os.environ["RATCHET_SEED"])
if hasattr(os, "register_at_fork"):  # from Python 3.7 on
    os.register_at_fork(before=_chance.fork, after_in_child=_chance.forked)

# The machine's own, in whose place this one was found.
_this = sys.modules.pop("sitecustomize")
try:
    import sitecustomize  # noqa: F401
except ImportError:
    sys.modules["sitecustomize"] = _this
