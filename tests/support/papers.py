"""Certificates for tests of TLS, from an authority of our own."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Papers:
    """Files with certificates: the authority's, the server's (for 127.0.0.1 alone) and a client's."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def other_ca(self) -> Path:
        return self.folder / "other.pem"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def lent(self, folder: Path, user: str | None) -> "Papers":
        """Copies in `folder` that a server which runs as `user` can read."""
        shutil.copytree(self.folder, folder)
        for path in (folder, *folder.iterdir()):
            if user is not None:
                shutil.chown(path, user)
        return Papers(folder)


def make_papers(folder: Path) -> Papers:
    """All of them, anew."""
    found = Papers(folder)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(found.ca)
    trustme.CA().cert_pem.write_to_path(found.other_ca)
    for name, leaf in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("client.example", common_name="postgres")),
    ):
        certificate, key = found.pair(name)
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
        key.chmod(0o600)
    return found
