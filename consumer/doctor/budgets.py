"""Whether the times that the settings give fit together and fit the broker's."""

import math
import resource

from consumer.adapters.refusal import remedy
from consumer.doctor.finding import Finding, good, warning, wrong
from consumer.settings import Settings

# RabbitMQ's own limit for a delivery that is not acknowledged, unless it is configured otherwise.
CONSUMER_TIMEOUT = 1800.0
# Open files beside one connection for each order in flight: some 30 at rest (broker, ledger, event loop, standard
# streams), and connections to the port of the probes.
OTHER_FILES = 50
# What Kubernetes leaves between SIGTERM and SIGKILL by default.
KUBERNETES_GRACE = 30.0


def longest_delivery(settings: Settings) -> float:
    """Seconds for which an order can stay unacknowledged: completing the event, one POST, the publish afterwards."""
    enrich = settings.consumer_enrich_timeout if settings.consumer_enrich else 0.0
    return enrich + settings.consumer_request_timeout + 30.0


def allowed_files() -> float:
    """How many files, connections included, this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def check_budgets(settings: Settings) -> list[Finding]:
    """How long an order is tried, what the shutdown needs, and whether there are files enough to be opened."""
    rungs = settings.consumer_retry_delays
    total = sum(rung.seconds for rung in rungs)
    findings = [good("budgets", f"{len(rungs) + 1} tries within {_told(total)} when Neuroon fails")]
    if longest_delivery(settings) >= CONSUMER_TIMEOUT:
        cure = "lower CONSUMER_REQUEST_TIMEOUT or CONSUMER_ENRICH_TIMEOUT"
        findings.append(wrong("budgets", "an order may take longer than the broker's consumer timeout, 30 min", cure))
    if [rung.seconds for rung in rungs] != sorted(rung.seconds for rung in rungs):
        cure = "list CONSUMER_RETRY_DELAYS from short to long"
        findings.append(warning("budgets", "a later try waits shorter than an earlier one", cure))
    if settings.consumer_shutdown_grace >= KUBERNETES_GRACE:
        cure = "raise terminationGracePeriodSeconds to CONSUMER_SHUTDOWN_GRACE and 30 s more"
        findings.append(warning("budgets", "the shutdown may take longer than Kubernetes waits by default", cure))
    needed = settings.consumer_concurrency + OTHER_FILES
    if (allowed := allowed_files()) < needed:
        message = (
            f"{allowed:.0f} open files are allowed, and up to {needed} are needed: a connection for each of "
            f"{settings.consumer_concurrency} orders in flight, and {OTHER_FILES} others"
        )
        findings.append(wrong("budgets", message, remedy("Too many open files") or ""))
    return findings


def _told(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts if part) or f"{seconds:g} s"
