"""The hub's certificate authority, its certificate, and a second authority nobody trusts."""

from __future__ import annotations

import fcntl
from pathlib import Path

from bench.hubd.options import FOREIGN_HOST, HUB_HOSTS
from vmreg.process import run

FOLDER = Path("/run/hub")
CURRENT = FOLDER / "tls"
TRUSTED = FOLDER / "tls-trusted"
UNTRUSTED = FOLDER / "tls-untrusted"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def authority(folder: Path) -> None:
    """Make a certificate authority in ``folder`` unless it has one; hubs may share it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "ca.pem").exists():
            return
        run([
            "openssl", "req", "-x509", *KEY, "-days", "3650", "-sha256",
            "-subj", "/O=vmreg embedded hub/CN=vmreg embedded hub CA",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.part"),
        ])  # fmt: skip
        (folder / "ca.key").chmod(0o600)
        (folder / "ca.part").rename(folder / "ca.pem")


def certificate(folder: Path, *, issuer: Path) -> None:
    """Make a key and a certificate for every name of the hub, signed by the CA in ``issuer``."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ",".join(f"DNS:{host}" for host in (*HUB_HOSTS, FOREIGN_HOST))
    run([
        "openssl", "req", "-x509", *KEY, "-days", "90", "-sha256",
        "-CA", str(issuer / "ca.pem"), "-CAkey", str(issuer / "ca.key"),
        "-subj", f"/CN={HUB_HOSTS[0]}",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature",
        "-addext", "extendedKeyUsage=serverAuth",
        "-addext", f"subjectAltName={names}",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"),
    ])  # fmt: skip


def prepare(trusted_authority: Path) -> None:
    """Make both certificates and serve the trusted one."""
    authority(trusted_authority)
    certificate(TRUSTED, issuer=trusted_authority)
    other = FOLDER / "other-authority"
    authority(other)
    certificate(UNTRUSTED, issuer=other)
    serve(trusted=True)


def serve(*, trusted: bool) -> None:
    """Choose the certificate of the handshakes to come; a second call is harmless."""
    link = FOLDER / "tls.new"
    link.unlink(missing_ok=True)
    link.symlink_to(TRUSTED if trusted else UNTRUSTED)
    link.replace(CURRENT)
