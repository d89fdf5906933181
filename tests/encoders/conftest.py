import pytest

from tests.encoders import tiny


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return tiny.write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    return tiny.write_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def vectors(tmp_path_factory):
    return tiny.write_vectors(tmp_path_factory.mktemp("vectors") / "made.4d.txt")


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    return tiny.write_audio("whisper", tmp_path_factory.mktemp("whisper"))
