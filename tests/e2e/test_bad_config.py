"""Bad configs: each is refused with exit code 2 and a sentence that names the key, and nothing is written."""

import pytest

from harness import FAILED, USAGE, assert_unchanged, rsb, tree

# What is changed in a good config (old text → new text), and what the refusal must say.
EDITS = {
    "no data shards": ("data_shards = 4", "data_shards = 0", ["data_shards"]),
    "negative parity": ("parity_shards = 2", "parity_shards = -1", ["parity_shards"]),
    "more than 256 shards": ("data_shards = 4", "data_shards = 255", ["256"]),
    "more shards than backends": ("data_shards = 4", "data_shards = 5", ["7", "6"]),
    "a domain that holds too much": ('domain = { provider = "b" }', 'domain = { provider = "a" }', ["provider", '"a"']),
    "a missing label": ('domain = { provider = "b" }', 'domain = { site = "b" }', ["provider", "b-0"]),
    "a misspelt key": ("data_shards = 4", "data_shard = 4", ["data_shard", "data_shards"]),
    "a misspelt section": ("[gateway]", "[gatway]", ["gatway", "gateway"]),
    "a misspelt backend key": ('name = "a-0"', 'nam = "a-0"', ["nam", "name"]),
    "a number as text": ("data_shards = 4", 'data_shards = "four"', ["data_shards"]),
    "a text as number": ('name = "e2e"', "name = 7", ["name"]),
    "a size without sense": ('spread = "provider"', 'spread = "provider"\nblock_size = "many"', ["block_size", "many"]),
    "a block that is not a multiple of 64": ('spread = "provider"', 'spread = "provider"\nblock_size = 1000', ["64"]),
    "a block that is too small": ('spread = "provider"', 'spread = "provider"\nblock_size = 64', ["block_size"]),
    "an unknown codec": ('spread = "provider"', 'spread = "provider"\ncodec = "novelpolly"', ["novelpolly", "novelpoly"]),
    "an unknown role": ('name = "a-0"', 'name = "a-0"\nrole = "actve"', ["actve", "active"]),
    "an unknown catalog": ('"sqlite://rsb.db"', '"mysql://rsb.db"', ["catalog", "sqlite"]),
    "a catalog without a file": ('"sqlite://rsb.db"', '"sqlite://"', ["catalog"]),
    "an unknown kind of backend": ('url = "file://', 'url = "ftp://', ["ftp"]),
    "a backend without an address": ('name = "a-1"\nurl', 'name = "a-1"\n# url', ["url"]),
    "a name twice": ('name = "a-1"', 'name = "a-0"', ["a-0"]),
    "a folder twice": ("/a-1\"", "/a-0\"", ["a-0", "same place"]),
    "an address without a port": ("[gateway]", '[gateway]\nlisten = "localhost"', ["listen"]),
    "a port that is none": ("[gateway]", '[gateway]\nlisten = "127.0.0.1:99999"', ["listen"]),
    "everybody's address without keys": ("[gateway]", '[gateway]\nlisten = "0.0.0.0:44987"', ["0.0.0.0", "keys"]),
    "a key without a secret": ("[[backend]]", '[[gateway.keys]]\nid = "x"\n\n[[backend]]', ["secret"]),
    "a right that is none": ("[[backend]]", '[[gateway.keys]]\nid = "x"\nsecret = "hush-hush"\nrights = ["reed"]\n\n[[backend]]', ["reed"]),
    "TLS without a key": ("[gateway]", '[gateway]\ntls = { certificate = "c.pem" }', ["key"]),
    "an unknown option": ('name = "a-0"', 'name = "a-0"\noptions = { regoin = "x" }', ["regoin"]),
    "credentials of two kinds": ('name = "a-0"', 'name = "a-0"\ncredentials = { env = "X", profile = "y" }', ["exactly one"]),
    "a cost that is text": ('name = "a-0"', 'name = "a-0"\ncost = { egress_per_gb = "much" }', ["egress_per_gb"]),
    "a healing now and then": ('every = "0s"', 'every = "now and then"', ["every", "now and then"]),
    "a healing budget without sense": ('every = "0s"', 'every = "0s"\nbytes_per_day = "lots"', ["bytes_per_day", "lots"]),
    "a misspelt healing key": ('every = "0s"', 'evry = "0s"', ["evry", "every"]),
    "a scrub once in a blue moon": ("[gateway]", '[scrub]\nfull_every = "monthly"\n\n[gateway]', ["full_every", "monthly"]),
    "a misspelt scrub key": ("[gateway]", '[scrub]\nfull_evry = "90d"\n\n[gateway]', ["full_evry", "full_every"]),
    "a scrub for less than nothing": ("[gateway]", "[scrub]\nprice_per_day = -1\n\n[gateway]", ["price_per_day"]),
    "a table where a text belongs": ('name = "e2e"', "name = { a = 1 }", ["name"]),
    "a bracket left open": ("[gateway]", "[gateway", ["bad.toml:", "TOML"]),
    "a key twice": ("data_shards = 4", "data_shards = 4\ndata_shards = 4", ["data_shards"]),
}


def changed(repository, old, new):
    text = repository.config.read_text()
    assert old in text, f"the good config no longer holds {old!r}"
    file = repository.root / "bad.toml"
    file.write_text(text.replace(old, new, 1))
    return file


def said(result):
    return result.text + result.err


@pytest.mark.parametrize("case", EDITS)
def test_bad_config_is_refused(local, case):
    old, new, words = EDITS[case]
    repository = local()
    before = tree(*repository.folders)
    bad = changed(repository, old, new)
    for verb in (["config", "check"], ["put", bad, "b/k"]):
        done = rsb(*verb, config=bad, expect=USAGE)
        for word in words:
            assert word in said(done), f"{word!r} is not named: {done}"
        assert "hush-hush" not in said(done), "a secret is in the output"
        assert "panicked" not in said(done)
    assert_unchanged(before, *repository.folders, within=0)


def test_every_problem_is_named_at_once_with_its_line(local):
    repository = local()
    text = repository.config.read_text().replace("data_shards = 4", "data_shards = 0").replace('name = "b-1"', 'nam = "b-1"')
    bad = repository.root / "bad.toml"
    bad.write_text(text)
    done = rsb("config", "check", config=bad, expect=USAGE)
    for line, words in enumerate(text.splitlines(), 1):
        if words in ("data_shards = 0", 'nam = "b-1"'):
            assert f"bad.toml:{line}" in said(done), done


def test_an_environment_variable_is_checked_like_the_file(local):
    repository = local()
    done = repository.rsb("config", "check", env={"RSB_REPOSITORY__DATA_SHARDS": "0"}, expect=USAGE)
    assert "data_shards" in said(done).lower() or "DATA_SHARDS" in said(done)


@pytest.mark.parametrize("name,text", [("empty", ""), ("not-utf8", None), ("folder", ...)])
def test_a_file_that_is_no_config(tmp_path, name, text):
    bad = tmp_path / "rsb.toml"
    if text is ...:
        bad.mkdir()
    elif text is None:
        bad.write_bytes(b"[repository]\nname = \"\xff\xfe\"\n")
    else:
        bad.write_text(text)
    done = rsb("config", "check", config=bad, expect=USAGE)
    assert "rsb.toml" in said(done) and "panicked" not in said(done)
    assert [p.name for p in tmp_path.iterdir()] == ["rsb.toml"], "nothing is written beside it"


def test_a_config_that_is_not_there(tmp_path):
    done = rsb("config", "check", config=tmp_path / "none.toml", expect=USAGE)
    assert "none.toml" in said(done)
    assert list(tmp_path.iterdir()) == []


def test_serve_refuses_a_repository_that_was_not_made(local, tmp_path):
    """Without `config init` there is no marker, and serve writes none in silence."""
    repository = local()
    marker = repository.folders[0] / "rsb.json"
    marker.unlink()
    before = tree(*repository.folders)
    done = repository.rsb("config", "check", expect=(FAILED, USAGE))
    assert "a-0" in said(done) and "config init" in said(done)
    assert_unchanged(before, *repository.folders, within=0)
