"""A mysql:// URL as the arguments of its driver.

TLS is asked for in the words of MySQL's own clients: ssl-mode, ssl-ca, ssl-cert, ssl-key.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from consumer.adapters.outboxtable import OutboxUsageError

MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_VERIFIED = ("VERIFY_CA", "VERIFY_IDENTITY")
_KNOWN = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")
# In URLs that a shop's framework shares with us; neither says anything to us.
_IGNORED = ("charset", "serverversion")

PORT = 3306


@dataclass(frozen=True, slots=True)
class MysqlUrl:
    """The parts of the URL. `password` shows itself in no repr, because nothing but `arguments` gives it out."""

    parts: Mapping[str, Any]
    tls: Mapping[str, str]

    @classmethod
    def read(cls, url: str) -> "MysqlUrl":
        """Raises OutboxUsageError, which quotes no part of the URL that could be a secret."""
        try:
            found = urlsplit(url)
            port = found.port or PORT
        except ValueError as error:
            raise OutboxUsageError("expected mysql://user:password@host:port/database, special signs as %XX") from error
        database = unquote(found.path.removeprefix("/"))
        if not (found.hostname and found.username and database) or "/" in database:
            raise OutboxUsageError("expected mysql://user:password@host/database")
        parts = {
            "host": unquote(found.hostname),
            "port": port,
            "user": unquote(found.username),
            # The driver would take text as Latin-1; MySQL and MariaDB hash what clients type, in UTF-8.
            "password": unquote(found.password or "").encode(),
            "database": database,
        }
        return cls(parts, _tls(found.query))

    def __repr__(self) -> str:
        return f"MysqlUrl({self.parts['host']}:{self.parts['port']}/{self.parts['database']})"

    def arguments(self) -> dict[str, Any]:
        """For `pymysql.connect`. Raises OutboxUsageError when a file with certificates cannot be used."""
        mode = self.tls["ssl-mode"]
        if mode == "DISABLED":
            return {**self.parts, "ssl_disabled": True}
        if mode == "PREFERRED":  # what the driver does by itself
            return dict(self.parts)
        return {**self.parts, "ssl": _context(self.tls)}


def _tls(query: str) -> dict[str, str]:
    given = {name.lower().replace("_", "-"): value for name, value in parse_qsl(query, keep_blank_values=True)}
    unknown = sorted(given.keys() - {*_KNOWN, *_IGNORED})
    if unknown:
        raise OutboxUsageError(f"{unknown[0]} in the URL is not known; there are {', '.join(_KNOWN)}")
    # Who names an authority wants to be sure of the server; who names nothing gets what MySQL's clients do.
    given.setdefault("ssl-mode", "VERIFY_IDENTITY" if "ssl-ca" in given else "PREFERRED")
    mode = given["ssl-mode"] = given["ssl-mode"].upper()
    if mode not in MODES:
        raise OutboxUsageError(f"ssl-mode in the URL: expected one of {', '.join(MODES)}")
    if "ssl-ca" in given and mode not in _VERIFIED:
        raise OutboxUsageError(f"ssl-ca checks nothing with ssl-mode={mode}; expected {' or '.join(_VERIFIED)}")
    if "ssl-cert" in given and mode in {"DISABLED", "PREFERRED"}:
        raise OutboxUsageError(f"ssl-cert needs TLS, and ssl-mode={mode} may do without; expected REQUIRED or more")
    return given


def _context(tls: Mapping[str, str]) -> ssl.SSLContext:
    mode = tls["ssl-mode"]
    try:
        context = ssl.create_default_context(cafile=tls.get("ssl-ca"))
        if "ssl-cert" in tls:
            context.load_cert_chain(tls["ssl-cert"], tls.get("ssl-key"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise OutboxUsageError(f"the certificates that the URL names cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The certificates that MySQL makes for itself lack extensions on which Python 3.13 insists.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_REQUIRED if mode in _VERIFIED else ssl.CERT_NONE
    return context
