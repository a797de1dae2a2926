"""A certificate that signs itself."""

from pathlib import Path

from tests.support.needs import need
from tests.support.processes import run


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return certificate and key for a name, such as "DNS:localhost"."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", f"subjectAltName={name}"]
    run(need("openssl"), "req", *kind, *subject, "-keyout", key, "-out", certificate)
    return certificate, key
