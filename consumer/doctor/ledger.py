"""The ledger: reachable, writable, and of the same time as we are."""

from consumer.adapters.ledger.inspection import inspect
from consumer.doctor.finding import Finding, good, unknown, warning, wrong

# Times in the ledger are compared with ours; seconds do no harm, minutes make `explain` tell nonsense.
MOST_SKEW = 5.0

CURE = "see LEDGER_URL, the database's user and rights, or the folder's owner"
NEWER_CURE = "install a newer neuroon-consumer, or restore a backup: see docs/upgrading.md"
CERTIFICATE_CURE = (
    "in LEDGER_URL name the server as its certificate does, its authority as sslrootcert, and, if it asks for one, our "
    "certificate as sslcert and sslkey"
)


async def check_ledger(url: str) -> list[Finding]:
    """Whether it can be reached and written, at LEDGER_URL. Nothing is written."""
    found = await inspect(url)
    if found.problem:
        cure = CERTIFICATE_CURE if "certificate" in found.problem else CURE
        cure = NEWER_CURE if "install a newer one" in found.problem else cure
        return [(wrong if found.reached else unknown)("ledger", found.problem, cure)]
    findings = [good("ledger", found.message)]
    if found.warning:
        findings.append(warning("ledger", found.warning, "chmod 600; the next `run` does it"))
    if found.skew is not None and abs(found.skew) > MOST_SKEW:
        findings.append(warning("clock", f"the database's is {found.skew:+.0f} s from ours", "let both follow NTP"))
    return findings
