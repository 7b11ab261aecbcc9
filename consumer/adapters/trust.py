"""Whom HTTPS trusts."""

import os
import ssl
from pathlib import Path

import certifi


class NoTrustError(Exception):
    """There are no certificates where SSL_CERT_FILE or SSL_CERT_DIR point, so that nobody could be trusted."""


def client_context() -> ssl.SSLContext:
    """TLS 1.2 at least, verified: by the system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR.

    Where the system has none at all, certifi's serve. Raises NoTrustError.
    """
    named = _named_store()
    context = ssl.create_default_context()  # OpenSSL looks at both variables by itself
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if named and not _is_store(named):
        raise NoTrustError(f"{named[0]}={named[1]}: expected certificates of authorities, found none")
    if not named and not _system_trusts():
        context.load_verify_locations(certifi.where())
    return context


def _named_store() -> tuple[str, str] | None:
    """The variable that names authorities instead of the system's, and what it says."""
    return next(((name, os.environ[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)


def _is_store(named: tuple[str, str]) -> bool:
    """Whether there is a certificate at all. OpenSSL says nothing of a file that is not there."""
    name, value = named
    files = [Path(value)] if name == "SSL_CERT_FILE" else list(Path(value).iterdir()) if Path(value).is_dir() else []
    return any(_has_certificate(file) for file in files)


def _has_certificate(file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (OSError, ssl.SSLError):
        return False
    return True


def _system_trusts() -> bool:
    """Whether this system knows certificate authorities. Without ca-certificates it does not."""
    paths = ssl.get_default_verify_paths()  # None for each that is not there
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))
