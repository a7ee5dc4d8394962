//! Every kind of mistake in a config: found, all at once, each at its line with the key's name and what to write.

use std::path::{Path, PathBuf};

use super::load::{EMBEDDED, Flag, LoadError, Request, parse};
use super::problem::Problem;
use super::{Config, Source, show};

fn load_with(text: &str, environment: &[(&str, &str)], flags: Vec<Flag>) -> Result<Config, Vec<Problem>> {
    let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let request = Request { environment, flags, ..Request::default() };
    let source = Source::File("rsb.toml".into());
    parse(text, Path::new("rsb.toml"), source, PathBuf::from("/base"), &request).map_err(|error| match error {
        LoadError::Wrong(problems) => problems,
        LoadError::Unreadable(text) => panic!("{text}"),
    })
}

fn load(text: &str) -> Result<Config, Vec<Problem>> {
    load_with(text, &[], Vec::new())
}

/// Three folders, 2+1, and then `more`.
fn with(more: &str) -> String {
    let mut text = String::from("[repository]\ndata_shards = 2\nparity_shards = 1\nspread = \"none\"\n");
    text.push_str(more);
    for name in ["a", "b", "c"] {
        text.push_str(&format!("\n[[backend]]\nname = \"{name}\"\nurl = \"file:{name}\"\n"));
    }
    text
}

#[test]
fn each_mistake_is_named_with_its_line_and_what_to_write() {
    // What is added to a good config at its fifth line; the line of the problem; words its sentence must have.
    let cases: &[(&str, usize, &[&str])] = &[
        ("data_shard = 3\n", 5, &["\"data_shard\" is not known", "\"data_shards\""]),
        ("codec = \"reedsolomon\"\n", 5, &["repository.codec", "\"novelpoly\" or \"cauchy\""]),
        ("block_size = \"64 potatoes\"\n", 5, &["repository.block_size", "64 potatoes", "512 B to 16 MiB"]),
        ("block_size = 1000\n", 5, &["not a multiple of 64"]),
        ("block_size = true\n", 5, &["it is true", "\"64 KiB\""]),
        ("segment_size = \"1 KiB\"\n", 5, &["repository.segment_size", "64 KiB to 4 GiB"]),
        ("inline_limit = \"1 TiB\"\n", 5, &["repository.inline_limit", "0 B to 4 MiB"]),
        ("ack_margin = 2\n", 5, &["ack_margin", "more than parity_shards, 1"]),
        ("grace = 5\n", 5, &["repository.grace", "it is 5", "duration"]),
        ("grace = \"tomorrow\"\n", 5, &["tomorrow", "\"1day\""]),
        ("name = \"\"\n", 5, &["repository.name", "1 to 100 bytes"]),
        ("name = 7\n", 5, &["repository.name", "text in quotes"]),
        ("catalog = \"mysql://db\"\n", 5, &["repository.catalog", "sqlite://PATH"]),
        ("catalog = \"sqlite://\"\n", 5, &["repository.catalog", "names no file"]),
        ("[gatway]\n", 5, &["\"gatway\" is not known", "\"gateway\""]),
        ("[gateway]\nlisten = \"localhost\"\n", 6, &["gateway.listen", "\"localhost\"", "127.0.0.1:44987"]),
        ("[gateway]\nlisten = \"127.0.0.1:99999\"\n", 6, &["gateway.listen"]),
        ("[gateway]\nauth = \"yes\"\n", 6, &["gateway.auth", "\"auto\", \"required\" or \"off\""]),
        ("[gateway]\nauth = \"required\"\n", 6, &["no key pair"]),
        ("[gateway]\nprototype = \"on\"\n", 6, &["gateway.prototype", "\"open\""]),
        ("[gateway]\netag = \"sha1\"\n", 6, &["gateway.etag", "\"md5\" or \"fast\""]),
        ("[gateway]\nmemory_limit = \"1 MiB\"\n", 6, &["less than segment_size"]),
        ("[gateway]\nlifecycle_every = 5\n", 6, &["gateway.lifecycle_every", "duration"]),
        (
            "[gateway.storage_classes]\nhot = { data_shards = 1, parity_shards = 1 }\n",
            6,
            &["\"hot\"", "capital letters"],
        ),
        ("[gateway.storage_classes]\nGLACIER = { data_shards = 1, parity_shards = 1 }\n", 6, &["restored first"]),
        ("[gateway.storage_classes]\nHOT = { data_shards = 2 }\n", 6, &["HOT", "parity_shards is missing"]),
        (
            "[gateway.storage_classes]\nHOT = { data_shards = 3, parity_shards = 1 }\n",
            6,
            &["HOT", "3+1 needs 4 active backends"],
        ),
        (
            "[gateway.storage_classes]\nHOT = { data_shards = 1, parity_shards = 1, k = 1 }\n",
            6,
            &["\"k\" is not known"],
        ),
        ("[gateway.storage_classes]\nHOT = 5\n", 6, &["HOT", "write a table"]),
        ("[gateway]\nmemory_limt = \"1 GiB\"\n", 6, &["nearest known key is \"memory_limit\""]),
        ("[gateway]\ntls = { certificate = \"c.pem\" }\n", 6, &["gateway.tls", "certificate and key"]),
        ("[gateway]\ntls = { cert = \"c.pem\" }\n", 6, &["gateway.tls.cert", "\"certificate\""]),
        ("[gateway]\nallow_plain_http = 1\n", 6, &["true or false"]),
        ("[[gateway.keys]]\nid = \"x\"\n", 5, &["gateway.keys.0", "0 of secret", "exactly one"]),
        ("[[gateway.keys]]\nid = \"x\"\nsecret = \"a\"\nsecret_env = \"B\"\n", 5, &["2 of secret"]),
        ("[[gateway.keys]]\nsecret = \"a\"\n", 5, &["id is missing"]),
        ("[[gateway.keys]]\nid = \"a:b\"\nsecret = \"a\"\n", 6, &["colon"]),
        ("[[gateway.keys]]\nid = \"x\"\nsecret = \"a\"\nrights = [\"wirte\"]\n", 8, &["\"wirte\" is not a right"]),
        ("[[gateway.keys]]\nid = \"x\"\nsecret = \"a\"\nrights = 5\n", 8, &["list of texts"]),
        ("[backend]\nname = \"a\"\n", 0, &["not TOML"]),
        ("[[backend]]\nurl = \"file:z\"\n", 5, &["backend.0.name", "name is missing"]),
        ("[[backend]]\nname = \"z\"\n", 5, &["backend.0.url", "url is missing"]),
        ("[[backend]]\nname = \"z\"\nurl = \"ftp://h\"\n", 7, &["\"ftp\" is not a kind of backend", "s3:"]),
        ("[[backend]]\nname = \"z/y\"\nurl = \"file:z\"\n", 6, &["\"z/y\" has other characters"]),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\nrole = \"activ\"\n", 8, &["backend.0.role", "\"draining\""]),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\noption = {}\n", 8, &["nearest known key is \"options\""]),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\noptions = { a = [1] }\n", 8, &["backend.0.options.a", "a list"]),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\ncost = { egres_per_gb = 1 }\n", 8, &["\"egress_per_gb\""]),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\ncost = { egress_per_gb = -1 }\n", 8, &["not negative"]),
        (
            "[[backend]]\nname = \"z\"\nurl = \"file:z\"\ncredentials = { profile = \"a\", env = \"B\" }\n",
            8,
            &["2 of profile"],
        ),
        (
            "[[backend]]\nname = \"z\"\nurl = \"file:z\"\ndomain = \"attic\"\n",
            8,
            &["backend.0.domain", "write a table"],
        ),
        ("[[backend]]\nname = \"z\"\nurl = \"file:z\"\nlimits = { concurrency = 0 }\n", 8, &["1 to 4096"]),
    ];
    for (more, line, words) in cases {
        let problems = load(&with(more)).expect_err(more);
        let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let found = said.iter().any(|sentence| {
            (*line == 0 || sentence.starts_with(&format!("rsb.toml:{line}: ")))
                && words.iter().all(|w| sentence.contains(w))
        });
        assert!(found, "{more}\nwanted line {line} with {words:?}, got\n{}", said.join("\n"));
        assert_eq!(said.len(), 1, "{more}\ngot\n{}", said.join("\n"));
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "[repository]\ndata_shards = 0\ncodek = \"x\"\n\n[gateway]\nlisten = 5\n\n[[backend]]\nname = \"a\"\nurl = \"s4://x\"\n";
    let lines: Vec<usize> = load(text).unwrap_err().iter().map(|problem| problem.place.line()).collect();
    assert_eq!(lines[..3], [2, 3, 6], "{lines:?}");
    assert!(lines.contains(&10), "{lines:?}");
}

#[test]
fn same_names_and_same_places_are_refused() {
    let twice = with("\n[[backend]]\nname = \"b\"\nurl = \"file:///base/a\"\n");
    let problems = load(&twice).unwrap_err();
    assert!(problems.iter().any(|p| p.key == "backend.2.name" && p.message.contains("earlier")), "{problems:?}");
    assert!(problems.iter().any(|p| p.key == "backend.1.url" && p.message.contains("same place")), "{problems:?}");
}

#[test]
fn domains_are_proven_and_too_few_backends_refused() {
    let problems = load(&with("").replace("spread = \"none\"", "spread = \"site\"")).unwrap_err();
    assert_eq!(problems.len(), 3, "each backend without the label: {problems:?}");
    let problems = load(&with("").replace("parity_shards = 1", "parity_shards = 2")).unwrap_err();
    assert!(problems[0].message.contains("2+2 needs 4 active backends"), "{problems:?}");
    let one_site =
        with("").replace("spread = \"none\"", "spread = \"site\"").replace("\nurl", "\ndomain = { site = \"x\" }\nurl");
    let problems = load(&one_site).unwrap_err();
    assert!(problems[0].message.contains("\"x\" alone"), "{problems:?}");
    assert_eq!(problems[0].place.line(), 4);
}

#[test]
fn another_address_than_loopback_needs_keys_and_tls() {
    let open = with("[gateway]\nlisten = \"0.0.0.0:1\"\n");
    let problems = load(&open).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(load(&with("[gateway]\nlisten = \"0.0.0.0:1\"\nauth = \"off\"\nallow_plain_http = true\n")).is_ok());
    let keys = "[gateway]\nlisten = \"0.0.0.0:1\"\ntls = { self_signed = true }\n[[gateway.keys]]\nid = \"a\"\nsecret = \"s\"\n";
    assert!(load(&with(keys)).is_ok());
}

#[test]
fn environment_and_flags_override_the_file_and_are_named_when_wrong() {
    let set = [
        ("RSB_REPOSITORY__NAME", "007"),
        ("RSB_GATEWAY__LISTEN", "127.0.0.1:1"),
        ("RSB_BACKEND__B__URL", "file:elsewhere"),
        ("RSB_BACKEND__2__OPTIONS__DEEP", "5"),
        ("RSB_SERVER", "not a level"),
    ];
    let flag = |value: &str| vec![Flag { flag: "--listen", key: "gateway.listen", value: value.into() }];
    let config = load_with(&with(""), &set, flag("127.0.0.1:2")).unwrap();
    assert_eq!(config.repository.name, "007", "a name that looks like a number stays as it was written");
    assert_eq!(config.gateway.listen.port(), 2, "the flag wins");
    assert_eq!(config.backends[1].url, "file:elsewhere");
    assert_eq!(config.backends[2].options["deep"], "5");

    let said = |set: &[(&str, &str)]| load_with(&with(""), set, Vec::new()).unwrap_err()[0].to_string();
    let typo = said(&[("RSB_REPOSITORY__DATA_SHARD", "3")]);
    assert!(typo.contains("RSB_REPOSITORY__DATA_SHARD") && typo.contains("\"data_shards\""), "{typo}");
    let zero = said(&[("RSB_REPOSITORY__DATA_SHARDS", "0")]);
    assert!(zero.starts_with("environment variable RSB_REPOSITORY__DATA_SHARDS: "), "{zero}");
    let nobody = said(&[("RSB_BACKEND__BB__URL", "file:x")]);
    assert!(nobody.contains("no entry is named \"BB\""), "{nobody}");
    let flagged = load_with(&with(""), &[], flag("nowhere")).unwrap_err()[0].to_string();
    assert!(flagged.starts_with("--listen: gateway.listen: "), "{flagged}");
}

#[test]
fn a_text_that_is_not_toml_is_named_with_its_line() {
    let problems = load("[repository]\nname = \"a\"\ndata_shards = = 3\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].place.line(), 3, "{problems:?}");
    assert!(problems[0].message.starts_with("this is not TOML"));
}

#[test]
fn the_built_in_config_and_every_example_are_good() {
    let config = load(EMBEDDED).unwrap();
    assert_eq!((config.repository.data_shards, config.repository.parity_shards, config.backends.len()), (10, 3, 13));
    for (name, text) in [
        ("local-minio-azurite", include_str!("../../../config/local-minio-azurite.toml")),
        ("three-clouds", include_str!("../../../config/three-clouds.toml")),
        ("fleet", include_str!("../../../config/fleet.toml")),
    ] {
        load(text).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    }
}

#[test]
fn what_is_shown_can_be_read_again_and_has_no_secret() {
    let text = with(
        "[gateway]\nlisten = \"127.0.0.1:7\"\n[[gateway.keys]]\nid = \"k\"\nsecret = \"hunter2\"\n\
         [[backend]]\nname = \"s\"\nurl = \"s3://b\"\noptions = { secret_access_key = \"hunter2\", region = \"eu\" }\n\
         credentials = { profile = \"p\" }\ncost = { egress_per_gb = 0.09 }\nlimits = { timeout = \"9s\" }\n",
    );
    let config = load(&text).unwrap();
    let shown = toml::to_string_pretty(&show::Shown::of(&config)).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"), "Debug shows a secret");
    let again = load(&shown).unwrap();
    assert_eq!(toml::to_string_pretty(&show::Shown::of(&again)).unwrap(), shown);
}

/// S3 has its own port, and where HTTP was moved, none that nobody named.
#[test]
fn s3_is_served_where_nothing_else_is_said() {
    let at = |text: &str| load(&with(text)).unwrap().gateway.s3_listen.map(|at| at.to_string());
    let usual = Some("127.0.0.1:44988".to_owned());
    assert_eq!(load(EMBEDDED).unwrap().gateway.s3_listen.map(|at| at.to_string()), usual);
    assert_eq!(at(""), usual);
    assert_eq!(at("[gateway]\nlisten = \"127.0.0.1:1\"\n"), None);
    assert_eq!(at("[gateway]\nlisten = \"127.0.0.1:1\"\ns3_listen = \"127.0.0.1:2\"\n"), Some("127.0.0.1:2".into()));
    assert_eq!(at("[gateway]\ns3_listen = \"127.0.0.1:2\"\n"), Some("127.0.0.1:2".into()));
}
