"""What hosts hand in, made into what a supervisor takes: whatever it is, without an exception."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, Mapping, Optional, Union

Number = Union[int, float]

#: A supervisor keeps so many bytes of a message.
MOST_TEXT = 10_000
#: So many figures a pulse may carry.
MOST_METRICS = 32
#: The shortest promise that a supervisor takes, in seconds.
LEAST_INTERVAL = 0.1
#: The longest, in seconds.
MOST_INTERVAL = 366 * 24 * 3600.0
#: The promise of one who gives none that can be kept, in seconds.
DEFAULT_INTERVAL = 30
#: What a service may say of its state.
STATES = ("working", "idle", "exiting", "stuck")

_MOST_METRIC_NAME = 64
_MOST_NAME = 64


def text(value: object, limit: int = MOST_TEXT) -> str:
    """A value as text that every JSON reader takes, of at most so many bytes."""
    try:
        said = value if isinstance(value, str) else str(value)
    except Exception:
        said = f"<{type(value).__name__}>"
    # A character has at most four bytes; cut first, for it may be hundreds of megabytes.
    encoded = said[:limit].encode("utf-8", "replace")[:limit]
    return encoded.decode("utf-8", "ignore")


def finite(value: object) -> Optional[float]:
    """A finite number, or nothing."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:
        return None
    return number if math.isfinite(number) else None


def interval(value: object) -> Number:
    """A promise in seconds, as it was given where a supervisor takes it."""
    seconds = finite(value)
    if seconds is None or seconds <= 0:
        return DEFAULT_INTERVAL
    if LEAST_INTERVAL <= seconds <= MOST_INTERVAL:
        return value if isinstance(value, int) and not isinstance(value, bool) else seconds
    return min(max(seconds, LEAST_INTERVAL), MOST_INTERVAL)


def flag(value: object, usual: bool) -> bool:
    """Whether it is true; as usual where nobody can say."""
    try:
        return bool(value)
    except Exception:
        return usual


def whole(value: object) -> Optional[int]:
    """A whole number that fits 64 bits, or nothing."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except Exception:
        return None
    return int(number) if -(2**63) <= number < 2**63 else None


def name(value: object) -> str:
    """A text as a legal name of a service: ``Save Worker`` becomes ``save-worker``."""
    legal = re.sub(r"[^a-z0-9_.@-]+", "-", text(value, 1000).strip().lower())
    legal = legal.lstrip("_.@-")[:_MOST_NAME].rstrip("-") or "python"
    if legal.startswith("internal."):
        # The supervisor's own.
        legal = f"x-{legal}"[:_MOST_NAME]
    return legal


def metrics(*given: Optional[Mapping[Any, Any]]) -> Dict[str, float]:
    """The figures among them, under legal names; the first ones, if there are too many."""
    figures: Dict[str, float] = {}
    for mapping in given:
        try:
            for key, value in mapping.items() if mapping is not None else ():
                number = finite(value)
                legal = re.sub(r"[^a-z0-9_]", "_", text(key, 1000).lower())[:_MOST_METRIC_NAME]
                if number is not None and legal and len(figures) < MOST_METRICS:
                    figures[legal] = number
        except Exception:
            # One that is no mapping, or breaks off, has said something up to there.
            pass
    return figures


def describe(failure: BaseException) -> str:
    """What an exception says, with its kind."""
    said = text(failure)
    kind = type(failure).__name__
    return f"{kind}: {said}" if said else kind
