"""Makes the certificates and keys of one control plane, valid on the loopback interface only."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID_FOR = datetime.timedelta(days=365)
_SERVER_NAMES = ("localhost", "kubernetes.default.svc", "kubernetes.default", "kubernetes")
_SERVER_ADDRESSES = ("127.0.0.1", "10.0.0.1")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The PEM files of a certificate (of a public key, for the service accounts) and of its private key."""

    public: Path
    private: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Every key pair that the parts of a control plane need."""

    authority: KeyPair
    front_proxy_authority: KeyPair
    server: KeyPair
    admin: KeyPair
    controller_manager: KeyPair
    service_accounts: KeyPair


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def certificate_paths(folder: Path) -> Certificates:
    """Where the files of a control plane lie below a folder, whether they exist or not."""

    def pair(name: str, public: str = "crt") -> KeyPair:
        return KeyPair(public=folder / f"{name}.{public}", private=folder / f"{name}.key")

    return Certificates(
        authority=pair("ca"),
        front_proxy_authority=pair("front-proxy-ca"),
        server=pair("kube-apiserver"),
        admin=pair("admin"),
        controller_manager=pair("kube-controller-manager"),
        service_accounts=pair("service-accounts", public="pub"),
    )


def make_certificates(folder: Path) -> Certificates:
    """Writes a new set of certificates and keys into a folder that only this user may read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = certificate_paths(folder)
    authority = _make_authority("finetune-operator-tests", paths.authority)
    _make_authority("front-proxy", paths.front_proxy_authority)
    _issue_server(authority, paths.server)
    _issue_client(authority, paths.admin, name="admin", organization="system:masters")
    _issue_client(authority, paths.controller_manager, name="system:kube-controller-manager")
    key = ec.generate_private_key(ec.SECP256R1())
    _write(paths.service_accounts, _public_pem(key), key)
    return paths


def _make_authority(name: str, files: KeyPair) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    _write(files, certificate.public_bytes(serialization.Encoding.PEM), key)
    return _Authority(certificate=certificate, key=key)


def _issue_server(authority: _Authority, files: KeyPair) -> None:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _SERVER_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _SERVER_ADDRESSES]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    _issue(
        authority,
        files,
        subject=subject,
        extensions=[
            x509.SubjectAlternativeName(names),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        ],
    )


def _issue_client(
    authority: _Authority, files: KeyPair, *, name: str, organization: str | None = None
) -> None:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    _issue(authority, files, subject=x509.Name(attributes), extensions=[usage])


def _issue(
    authority: _Authority, files: KeyPair, *, subject: x509.Name, extensions: list[x509.ExtensionType]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(subject, authority.certificate.subject, key)
    # Clients that verify strictly, as Python 3.13 does by default, ask for the authority's key identifier.
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    for extension in (*extensions, issuer):
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    _write(files, certificate.public_bytes(serialization.Encoding.PEM), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID_FOR)
    )


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(files: KeyPair, public: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    files.public.write_bytes(public)
    files.private.touch(mode=0o600)
    files.private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
