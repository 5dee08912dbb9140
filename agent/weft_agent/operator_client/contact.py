"""How it stands with the operator: connected or not, since when, why not. What health, metrics and status tell of it."""

from collections.abc import Callable

from weft_agent.operator_client.errors import OperatorError
from weft_agent.telemetry.metrics import Metrics


class Contact:
    """The state of the connection.

    Args:
        url: of the operator.
        metrics: state and count it.
        clock: wall clock, unix seconds.
    """

    def __init__(self, url: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.url = url
        self._metrics = metrics
        self._clock = clock
        self.connected = False
        self.changed_unix_s = clock()
        """Since when it is as it is."""
        self.last_error = ""
        self.last_error_unix_s = 0.0
        self.confirmed_unix_s = 0.0
        """When this node last knew that its configuration was the operator's; 0: never."""
        metrics.set("weft_operator_connected", 0.0)
        metrics.set("weft_config_stale", 1.0)

    def came(self) -> None:
        """Note that a session began."""
        self._set(connected=True)
        self._metrics.add("weft_operator_sessions_total")

    def left(self, error: OperatorError | None) -> None:
        """Note that the session, or the attempt, ended.

        Args:
            error: why; None: by plan.
        """
        if self.connected:
            self.confirmed_unix_s = self._clock()
        self._set(connected=False)
        if error is not None:
            self.last_error = str(error)
            self.last_error_unix_s = self._clock()
            self._metrics.add("weft_operator_errors_total", reason=error.reason)
            self._metrics.set("weft_operator_last_error_seconds", self.last_error_unix_s)

    def age_s(self) -> float:
        """Return how old the configuration may be: seconds since the operator was last there to change it."""
        if self.connected or not self.confirmed_unix_s:
            return 0.0
        return max(0.0, self._clock() - self.confirmed_unix_s)

    def away_s(self) -> float:
        """Return for how long there was no connection; 0.0: there is one."""
        return 0.0 if self.connected else max(0.0, self._clock() - self.changed_unix_s)

    def _set(self, *, connected: bool) -> None:
        if self.connected != connected:
            self.connected = connected
            self.changed_unix_s = self._clock()
        self._metrics.set("weft_operator_connected", float(connected))
        self._metrics.set("weft_config_stale", float(not connected))
