"""Simulated runs, and what else tests of hitsieve and of programs around it need.

Nothing in hitsieve but the commands that simulate imports this.
"""

from hitsieve.testing.images import Simulator, Truth
from hitsieve.testing.settings import SimulateSettings, StreamSettings
from hitsieve.testing.simulate import Simulated, simulate

__all__ = ["SimulateSettings", "Simulated", "Simulator", "StreamSettings", "Truth", "simulate"]
