use super::*;

fn at(listen: &str) -> GatewayConfig {
    GatewayConfig::new(listen.parse().unwrap())
}

fn key(id: &str, secret: &str) -> AccessKey {
    AccessKey {
        id: id.into(),
        secret: Secret::new(secret),
        rights: BTreeSet::from([Right::Read]),
        buckets: vec!["*".into()],
    }
}

fn refusal(config: &GatewayConfig) -> String {
    config.validate().unwrap_err().to_string()
}

#[test]
fn loopback_needs_nothing() {
    for listen in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        assert_eq!(at(listen).validate().unwrap(), Vec::<String>::new(), "{listen}");
    }
}

#[test]
fn an_address_others_reach_needs_keys_and_tls() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let mut config = at(listen);
        assert!(refusal(&config).contains("there are no keys"), "{listen}");
        config.keys = vec![key("a", "secret")];
        assert!(refusal(&config).contains("no TLS"), "{listen}");
        config.allow_plain_http = true;
        let warnings = config.validate().unwrap();
        assert!(warnings.iter().any(|w| w.contains("plain HTTP")), "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("prototype is \"open\"")), "{warnings:?}");
        config.tls = Some(Tls::SelfSigned { names: Vec::new() });
        config.prototype = PrototypeMode::Auth;
        assert_eq!(config.validate().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_s3_address_others_reach_needs_keys_and_tls_also_without_auth() {
    let mut config = at("127.0.0.1:0");
    config.s3_listen = Some("127.0.0.1:0".parse().unwrap());
    assert_eq!(config.validate().unwrap(), Vec::<String>::new());
    config.s3_listen = Some("192.0.2.1:80".parse().unwrap());
    config.auth = Auth::Off;
    assert!(refusal(&config).contains("there are no keys"));
    config.keys = vec![key("a", "secret")];
    assert!(refusal(&config).contains("no TLS"));
    config.tls = Some(Tls::SelfSigned { names: Vec::new() });
    config.validate().unwrap();
}

#[test]
fn auth_off_is_said_out_loud() {
    let mut config = at("0.0.0.0:0");
    config.auth = Auth::Off;
    config.tls = Some(Tls::SelfSigned { names: Vec::new() });
    assert!(config.validate().unwrap()[0].contains("auth is \"off\""));
}

#[test]
fn keys_that_cannot_work_are_refused() {
    let mut config = at("127.0.0.1:0");
    for (id, secret, says) in [("", "s", "key id"), ("a:b", "s", "colon"), ("a", "", "empty secret")] {
        config.keys = vec![key(id, secret)];
        assert!(refusal(&config).contains(says), "{id:?}");
    }
    config.keys = vec![key("a", "1"), key("a", "2")];
    assert!(refusal(&config).contains("twice"));
    config.keys.clear();
    config.auth = Auth::Required;
    assert!(refusal(&config).contains("no keys"));
    config.auth = Auth::Auto;
    config.prototype = PrototypeMode::Auth;
    assert!(refusal(&config).contains("no keys"));
}

#[test]
fn a_secret_is_never_shown() {
    let mut config = at("127.0.0.1:0");
    config.keys = vec![key("a", "hunter2")];
    config.tls = Some(Tls::Pem { certificate: Vec::new(), key: Secret::new("hunter2") });
    assert!(!format!("{config:?}").contains("hunter2"));
}
