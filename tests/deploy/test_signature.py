import json
import shutil
import stat

import pytest

from bridle import cli
from bridle.deploy import signature
from bridle.deploy.bundle import MANIFEST, SIGNATURE, load_bundle, sign_bundle
from bridle.deploy.exceptions import BundleError, SigningError


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.fixture
def key(tmp_path):
    signature.new_key(tmp_path / "lab.pem")
    return tmp_path / "lab.pem"


def public(key):
    return key.with_name(f"{key.name}.pub")


def test_a_signed_bundle_is_read_with_the_key_and_without(copy, key):
    identity = sign_bundle(copy, key)
    assert load_bundle(copy, public(key)).digest == load_bundle(copy).digest
    assert json.loads((copy / SIGNATURE).read_text())["key"] == identity


def test_the_signature_is_an_ed25519_signature_of_the_manifest_itself(copy, key):
    import base64

    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    sign_bundle(copy, key)
    content = json.loads((copy / SIGNATURE).read_text())
    load_pem_public_key(public(key).read_bytes()).verify(
        base64.b64decode(content["signature"]), (copy / MANIFEST).read_bytes()
    )


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(SigningError, match="never overwritten"):
        signature.new_key(key)
    public(key).unlink()
    with pytest.raises(SigningError, match="never overwritten"):
        signature.new_key(key)
    assert key.read_bytes() == before


def test_a_key_that_others_can_read_does_not_sign(copy, key):
    key.chmod(0o640)
    with pytest.raises(SigningError, match="chmod 600"):
        sign_bundle(copy, key)


def test_an_unsigned_bundle_is_refused_when_a_key_is_asked_for(copy, key):
    with pytest.raises(BundleError, match="is not signed"):
        load_bundle(copy, public(key))


def test_a_broken_bundle_is_not_signed(copy, key):
    (copy / "card.md").write_text("better than it is")
    with pytest.raises(BundleError, match=r"card.md was altered"):
        sign_bundle(copy, key)
    assert not (copy / SIGNATURE).exists()


@pytest.mark.parametrize("wrong", ["private", "text", "missing", "rsa"])
def test_what_is_no_public_key_is_named(wrong, copy, key, tmp_path):
    sign_bundle(copy, key)
    path = tmp_path / "wrong"
    if wrong == "private":
        shutil.copy(key, path)
    elif wrong == "text":
        path.write_text("nothing")
    elif wrong == "rsa":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        other = rsa.generate_private_key(65537, 2048).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(other.public_bytes(serialization.Encoding.PEM, form))
    with pytest.raises(SigningError, match=str(path)):
        load_bundle(copy, path)


def test_the_commands_sign_and_verify(copy, tmp_path, capsys):
    key = str(tmp_path / "a.pem")
    assert cli.main(["sign", "--new-key", key]) == 0
    assert cli.main(["verify", str(copy), "--key", f"{key}.pub"]) == 2
    assert "is not signed" in capsys.readouterr().err
    assert cli.main(["sign", str(copy), "--key", key]) == 0
    assert cli.main(["verify", str(copy), "--key", f"{key}.pub"]) == 0
    assert "signed by the owner" in capsys.readouterr().out


def test_a_bundle_without_a_key_to_sign_it_with_is_an_error(copy, capsys):
    assert cli.main(["sign", str(copy)]) == 2
    assert "give both or neither" in capsys.readouterr().err
