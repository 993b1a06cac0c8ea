"""Heartbeats to a supervisor.

    from supervisor_client import Heartbeat

    with Heartbeat(interval=30, tag="indexer") as heartbeat:
        for batch in batches:
            index(batch)
            heartbeat.pulse()

A heartbeat pulses when the code says so, never from a thread that would go on beating while
the work hangs. Nothing here raises into its host or blocks it.

``import supervisor_client as python_core`` runs code written for ``python_core`` unchanged.
"""

from ._config import Config, get_config
from ._heartbeat import Heartbeat
from ._job import Job

__all__ = ["Config", "Heartbeat", "Job", "get_config"]
__version__ = "0.1.0"
