"""Each shop's base URL, key, id and origin."""

from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.reply import HTML_PAGE
from consumer.core.shop import Shop, Shops
from consumer.doctor.finding import Finding, good, unknown, warning, wrong

# A status below is no answer's "no": nothing was sent (0), or the answer is good and says that the key is another's.
REFUSALS = 300

_CURE_OF_HOLD = "enabled = true sends them; after CONSUMER_MAX_HOLD an order is given up, to be replayed"


async def check_shops(neuroon: Neuroon, shops: Shops, product_id: str | None) -> list[Finding]:
    """Each shop's base URL, key, id and origin, by a GET; no order is posted. A shop on hold is asked all the same."""
    findings = []
    for shop in shops.shops:
        if shop.hold:
            findings.append(warning(f"shop {shop.id}", "on hold by the shops file: its orders wait", _CURE_OF_HOLD))
        if shop.enabled:
            findings.append(_shop_finding(shop, await neuroon.probe(shop, product_id)))
    return findings


def _shop_finding(shop: Shop, reply: Reply) -> Finding:
    check = f"shop {shop.id}"
    match reply:
        case Accepted() | AlreadyKnown():
            return good(check, "base URL, key and shop belong together")
        case Throttled():
            return unknown(check, "429, too many requests", "try again in a minute")
        case Misconfigured(status, problem) if problem.startswith(HTML_PAGE):
            return wrong(check, f"{status}: {problem}", _PAGE_CURE)
        case Unavailable(problem):
            return unknown(check, f"no answer from {shop.api_url}: {problem}", "see that NEUROON_API_URL is right")
        case Misconfigured(status, problem) | Refused(status, problem):
            return wrong(check, f"{status}: {problem}" if status >= REFUSALS else problem, _cure(status))


_PAGE_CURE = (
    "let this machine past the firewall or proxy that answered with the page, and see that the base URL is Neuroon's; "
    "if Neuroon itself answers like this, set NEUROON_ACCEPT_ANY_2XX=on"
)


def _cure(status: int) -> str:
    match status:
        case 0:
            return "set it right; the shop's requests are not even sent"
        case _ if status < REFUSALS:
            return "set the key of this shop id, or the shop id of this key"
        case 402 | 423 | 451:
            return "ask Neuroon what the shop's account needs; its orders wait meanwhile"
        case 407:
            return "let this machine through the proxy that asks for a password"
        case 401:
            return "set the shop's current API key; keys of the development and production environments differ"
        case 403:
            return "set the origin to the shop's registered URL, or none; see that the key belongs to this shop id"
        case 404:
            return "see that the shop id exists in the environment that the base URL names"
        case _:
            return "see that the base URL is Neuroon's own, without a path"
