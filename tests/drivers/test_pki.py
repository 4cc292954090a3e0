"""Our own certificate, the folder, and why a server's certificate is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from drivers.pki.certificate import CertificateUnusable, expires_ns, find, fingerprint, hosts_of, parse_chain, thumbprint, uris_of
from drivers.pki.judging import Claim, judge
from drivers.pki.making import application_uri
from drivers.pki.store import Store
from tests.drivers.authority import DAY, NOW, NOW_NS, Maker

FOREVER_NS = NOW_NS + 20 * 365 * 86_400 * 1_000_000_000


def claim(*makers: Maker, uri: str | None = "urn:test:server", host: str = "localhost") -> Claim:
    return Claim(tuple(maker.certificate() for maker in makers), uri, host)


def test_our_certificate_is_made_once_with_what_servers_look_at(tmp_path: Path) -> None:
    store = Store(tmp_path / "pki")
    assert store.find_own() is None
    own = store.own(NOW_NS)
    assert store.own(NOW_NS).certificate == own.certificate
    extensions = own.certificate.extensions
    assert own.key_file.stat().st_mode & 0o777 == 0o600
    assert len(uris_of(own.certificate)) == 1
    assert len(hosts_of(own.certificate)) == 1
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.data_encipherment
    assert judge(Claim((own.certificate,), uris_of(own.certificate)[0], hosts_of(own.certificate)[0]), store, NOW_NS) is not None


def test_ours_is_renewed_when_it_has_run_out_and_keeps_uri_and_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.own(NOW_NS)
    later = store.own(FOREVER_NS)
    assert expires_ns(later.certificate) > FOREVER_NS
    assert uris_of(later.certificate) == uris_of(first.certificate)
    assert later.certificate.public_key() == first.certificate.public_key()
    assert fingerprint(later.certificate) != fingerprint(first.certificate)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    own = Store(tmp_path).own(NOW_NS)
    own.key_file.chmod(0o640)
    with pytest.raises(CertificateUnusable, match="chmod 600"):
        Store(tmp_path).own(NOW_NS)


def test_a_host_becomes_a_uri_whatever_its_letters() -> None:
    assert application_uri("line 3_a") == "urn:line-3-a:mumian:gateway"


def test_trusting_moves_a_rejected_one_and_rejecting_moves_it_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = Maker().certificate()
    store.show(one)
    assert (store.rejected, store.trusted) == ([one], [])
    store.trust(one)
    assert (store.rejected, store.trusted) == ([], [one])
    store.show(one)
    assert (store.rejected, store.trusted) == ([], [one])
    store.reject(one)
    assert (store.rejected, store.trusted) == ([one], [])


def test_what_people_put_into_the_folder_may_be_pem_or_no_certificate(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = tmp_path / "trusted/certs"
    folder.mkdir(parents=True)
    one = Maker().certificate()
    (folder / "plc.pem").write_bytes(one.public_bytes(Encoding.PEM))
    (folder / "readme.txt").write_text("not one")
    assert store.trusted == [one]


def test_rejected_ones_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.pki.store.MOST_REJECTED", 1)
    Store(tmp_path).show(Maker().certificate())
    Store(tmp_path).show(Maker("other").certificate())
    assert Store(tmp_path).rejected == [Maker().certificate()]


def test_a_certificate_is_found_by_either_print() -> None:
    one, other = Maker().certificate(), Maker("other").certificate()
    colons = ":".join(fingerprint(one)[place : place + 2] for place in range(0, 12, 2)).lower()
    assert find([one, other], colons) == [one]
    assert find([one, other], thumbprint(other)) == [other]


def test_a_chain_is_taken_apart_and_rubbish_behind_it_refused() -> None:
    one, other = Maker().certificate(), Maker("other").certificate()
    both = one.public_bytes(Encoding.DER) + other.public_bytes(Encoding.DER)
    assert parse_chain(both) == [one, other]
    for rubbish in (b"\x30", both + b"\x30\x84", b"\x30\x03abc"):
        with pytest.raises(ValueError, match=r"."):
            parse_chain(rubbish)


def test_a_trusted_one_is_good(tmp_path: Path) -> None:
    Store(tmp_path).trust(Maker().certificate())
    assert judge(claim(Maker()), Store(tmp_path), NOW_NS) is None


def _expire(maker: Maker) -> None:
    maker.begins, maker.ends = NOW - 9 * DAY, NOW - 2 * DAY


def _postpone(maker: Maker) -> None:
    maker.begins = NOW + 2 * DAY


def _misname(maker: Maker) -> None:
    maker.hosts = ["plc7"]


def _unname(maker: Maker) -> None:
    maker.hosts = []


def _rename(maker: Maker) -> None:
    maker.uri = "urn:test:another"


def _misuse(maker: Maker) -> None:
    maker.is_for_signing = False


def _weaken(maker: Maker) -> None:
    maker.key = Maker("weak", bits=1024).key


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (_expire, "BadCertificateTimeInvalid", ["ended on", "our clock says", "renew it on the server"]),
        (_postpone, "BadCertificateTimeInvalid", ["begins on", "set the clock"]),
        (_misname, "BadCertificateHostNameInvalid", ["is for plc7, not for localhost", "server_name: plc7"]),
        (_unname, "BadCertificateHostNameInvalid", ["no host at all"]),
        (_rename, "BadCertificateUriInvalid", ["urn:test:another", "urn:test:server"]),
        (_misuse, "BadCertificateUseNotAllowed", ["not for signing"]),
        (_weaken, "BadCertificatePolicyCheckFailed", ["1024 bits", "RSA 2048"]),
    ],
)
def test_a_bad_one_is_refused_though_trusted(
    tmp_path: Path, spoil: Callable[[Maker], None], status: str, words: list[str]
) -> None:
    maker = Maker()
    spoil(maker)
    Store(tmp_path).trust(maker.certificate())
    refusal = judge(claim(maker), Store(tmp_path), NOW_NS)
    assert refusal is not None
    assert refusal.status == status
    assert all(word in str(refusal) for word in words), str(refusal)


def test_a_stranger_is_refused_with_its_fingerprint_and_the_command(tmp_path: Path) -> None:
    refusal = judge(claim(Maker()), Store(tmp_path), NOW_NS)
    mark = fingerprint(Maker().certificate())
    assert refusal is not None
    assert refusal.status == "BadCertificateUntrusted"
    assert mark in refusal.remedy
    assert f"mumian pki trust {mark[:16]}" in refusal.remedy


class TestAuthority:
    @pytest.fixture
    def authority(self) -> Maker:
        authority = Maker("authority")
        authority.is_authority = True
        return authority

    @pytest.fixture
    def server(self, authority: Maker) -> Maker:
        server = Maker()
        server.issuer = authority
        return server

    @pytest.fixture
    def store(self, tmp_path: Path, authority: Maker) -> Store:
        store = Store(tmp_path)
        store.trust(authority.certificate())
        return store

    def publish(self, store: Store, revocations: x509.CertificateRevocationList) -> None:
        folder = store.folder / "trusted/crl"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "authority.crl").write_bytes(revocations.public_bytes(Encoding.DER))

    def test_what_a_trusted_authority_issued_is_good_while_its_list_says_nothing(
        self, store: Store, authority: Maker, server: Maker
    ) -> None:
        self.publish(store, authority.revocations())
        assert judge(claim(server), store, NOW_NS) is None

    def test_without_its_list_it_is_refused_unless_trusted_itself(self, store: Store, server: Maker) -> None:
        refusal = judge(claim(server), store, NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateRevocationUnknown"
        store.trust(server.certificate())
        assert judge(claim(server), store, NOW_NS) is None

    def test_a_revoked_one_is_refused_though_trusted_itself(self, store: Store, authority: Maker, server: Maker) -> None:
        store.trust(server.certificate())
        self.publish(store, authority.revocations(server.certificate()))
        refusal = judge(claim(server), store, NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateRevoked"

    def test_a_list_that_somebody_else_signed_counts_for_nothing(self, store: Store, server: Maker) -> None:
        forged = Maker("forger")
        forged.name = "authority"
        self.publish(store, forged.revocations())
        refusal = judge(claim(server), store, NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateRevocationUnknown"

    def test_an_issuer_is_not_trusted_for_being_known(self, tmp_path: Path, authority: Maker, server: Maker) -> None:
        folder = tmp_path / "issuers/certs"
        folder.mkdir(parents=True)
        (folder / "authority.der").write_bytes(authority.certificate().public_bytes(Encoding.DER))
        refusal = judge(claim(server, authority), Store(tmp_path), NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateUntrusted"

    def test_an_unknown_issuer_is_named(self, tmp_path: Path, server: Maker) -> None:
        refusal = judge(claim(server), Store(tmp_path), NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateChainIncomplete"
        assert "CN=authority" in refusal.reason

    def test_who_is_no_authority_can_issue_nothing(self, tmp_path: Path, authority: Maker, server: Maker) -> None:
        authority.is_authority = False
        store = Store(tmp_path)
        store.trust(authority.certificate())
        refusal = judge(claim(server), store, NOW_NS)
        assert refusal is not None
        assert refusal.status == "BadCertificateChainIncomplete"
