"""How far a long step has come, for whoever waits: a line now and then, with a rate and the time that is left.

A step that is done within a second says nothing.
"""

from collections.abc import Callable
from typing import Final

_QUIET_NS: Final = 1_000_000_000
_BETWEEN_NS: Final = 2_000_000_000
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


class PaceLines:
    """Makes lines of what recovery tells.

    Args:
        say: takes a line.
        clock: a clock that only goes forward, ns.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], int]) -> None:
        self._say = say
        self._clock = clock
        self._what = ""
        self._begun_ns = self._say_at_ns = 0
        self._begun_at = 0

    def tell(self, what: str, done: int, total: int, unit: str) -> None:
        """Say how far it is, where that is due.

        Args:
            what: is being done; another one begins anew.
            done: how much is done.
            total: of about how much.
            unit: `bytes`, or of what things so many.
        """
        now_ns = self._clock()
        if what != self._what or done < self._begun_at:
            self._what, self._begun_at = what, done
            self._begun_ns, self._say_at_ns = now_ns, now_ns + _QUIET_NS
        if now_ns < self._say_at_ns:
            return
        self._say_at_ns = now_ns + _BETWEEN_NS
        rate = (done - self._begun_at) * 1e9 / (now_ns - self._begun_ns)
        total = max(total, done)
        percent = 100 * done // total if total else 100
        if unit == "bytes":
            amount = f"{done / _GIB:.1f} of {total / _GIB:.1f} GiB, {rate / _MIB:.0f} MiB/s"
        else:
            amount = f"{done} of {total} {unit}, {rate:.0f}/s"
        left = f", about {(total - done) / rate:.0f} s left" if rate > 0 else ""
        self._say(f"{what}: {percent} % ({amount}{left})")
