"""What is said before doing it: plans with their price, drills to be filed, the chance of a loss; beside the gateway and through it."""

from harness import DONE, KIB, NOT_FOUND, UNREADABLE, USAGE, rsb, write_config, write_content


def test_plans_have_a_price(local):
    repository = local()
    for backend in repository.backends:
        backend.extra["cost"] = {"egress_per_gb": 100.0, "stored_per_gb_month": 10.0, "minimum_size": "64 KiB"}
    write_config(repository.config, repository.backends, 4, 2)
    repository.rsb("mb", "docs", expect=DONE)
    repository.rsb("put", write_content(repository.root / "in", 400 * KIB), "docs/x", expect=DONE)
    get = repository.rsb("plan", "get", "docs", "--json", expect=DONE).json()
    assert get["versions"] == 1 and 400 * KIB < get["bill"]["read_bytes"] < 402 * KIB
    assert abs(get["bill"]["price"] - get["bill"]["read_bytes"] * 100 / 1e9) < 1e-9
    with repository.gateway() as gateway:
        assert rsb("plan", "get", "docs", "--json", server=gateway.url, expect=DONE).json()["bill"] == get["bill"]
        store = rsb("plan", "store", "--json", server=gateway.url, expect=DONE).json()
        # Six shards of 100 KiB, and six copies of the record, each paid for as 64 KiB.
        billed = store["bill"]["price_per_month"] * 1e9 / 10
        assert 6 * (100 + 64) * KIB <= billed < 6 * 170 * KIB
        assert "a month" in rsb("plan", "store", server=gateway.url, expect=DONE).text
        full = rsb("plan", "scrub", "--depth", "full", "--json", server=gateway.url, expect=DONE).json()
        assert full["bill"]["read_bytes"] > 600 * KIB
        plan = rsb("plan", "rescheme", "--data-shards", "2", "--parity-shards", "2", "--json", server=gateway.url, expect=DONE).json()
        assert plan["versions"] == 1
        rsb("plan", "drain", "none", server=gateway.url, expect=NOT_FOUND)
        rsb("plan", "get", "none", server=gateway.url, expect=NOT_FOUND)


def test_a_drill_is_filed(local):
    repository = local()
    repository.rsb("mb", "docs", expect=DONE)
    repository.rsb("put", write_content(repository.root / "in", 400 * KIB), "docs/x", expect=DONE)
    text = repository.rsb("drill", "--report", "--subsets", "99", "--read", "1 MB", expect=DONE).text
    for word in ("Drill of repository", "by inventory", "without provider=a (2 backends): proven", "by reading", "1 whole"):
        assert word in text, text
    with repository.gateway() as gateway:
        report = rsb("drill", "--report", "--subsets", "4", "--seed", "5", "--read", "1 MB", "--json", server=gateway.url, expect=DONE).json()
        assert len(report["domains"]) == 3 + 4 and report["seed"] == 5 and report["reads"]["objects"] == 1
    for folder in repository.folders[:1]:
        for shard in (folder / "s").rglob("*.*"):
            shard.unlink()
    report = repository.rsb("drill", "--report", "--subsets", "99", expect=UNREADABLE).text
    assert "NOT proven: 1 cannot be read" in report and "docs/x: 1 shard short" in report
    repository.rsb("drill", "--read", "much", expect=USAGE)


def test_durability_says_what_helps(local):
    repository = local()
    judged = repository.rsb("durability", "--cycles", "3000", "--json", expect=DONE).json()
    assert judged["chance"]["low"] <= judged["chance"]["per_year"] <= judged["chance"]["high"] < 1e-3
    assert judged["shards_by_domain"] == {"a": 2, "b": 2, "c": 2}
    better = [change["times_better"] for change in judged["changes"]]
    assert len(better) == 4 and better == sorted(better, reverse=True) and better[0] > 1
    text = repository.rsb("durability", "--cycles", "3000", "--repair-hours", "2", expect=DONE).text
    assert "Backblaze" in text and "rebuilt after 2 hours" in text and "times smaller" in text
    with repository.gateway() as gateway:
        same = rsb("durability", "--cycles", "3000", "--json", server=gateway.url, expect=DONE).json()
        assert abs(same["nines"] - judged["nines"]) < 1e-9 and same["assumptions"] == judged["assumptions"]
    repository.rsb("durability", "--repair-hours", "0", expect=USAGE)
    repository.rsb("durability", "--backend", "nonsense", expect=USAGE)
