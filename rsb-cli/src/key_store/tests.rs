use super::*;

fn store(folder: &Path) -> KeyStore {
    let file = folder.join("rsb.db.keys");
    KeyStore { wrapping: Wrapping::Own(beside(&file, ".wrap")), file }
}

fn add(store: &KeyStore, id: &str) -> String {
    let (entry, secret) = store.add(&Env::system(), Some(id.into()), vec![Right::Read], vec!["pub*".into()]).unwrap();
    assert_eq!(entry.id, id);
    secret
}

#[test]
fn what_was_added_is_found_again_and_its_secret_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.keys().unwrap().is_empty());
    let secrets = [add(&store, "a"), add(&store, "b")];
    let keys = store.keys().unwrap();
    for (key, secret) in keys.iter().zip(&secrets) {
        assert_eq!(key.secret.expose(), secret);
        assert_eq!((key.rights.len(), &key.buckets[..]), (1, &["pub*".to_owned()][..]));
    }
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{path:?}");
    }
    assert_eq!(store.add(&Env::system(), Some("a".into()), vec![], vec![]).unwrap_err().code(), FAILED);
    store.remove("a").unwrap();
    assert_eq!(store.remove("a").unwrap_err().code(), NOT_FOUND);
    assert_eq!(store.keys().unwrap().len(), 1);
}

#[test]
fn with_another_wrapping_key_nothing_opens_and_nothing_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    add(&store, "a");
    let wrap = beside(&store.file, ".wrap");
    std::fs::write(&wrap, "another text of at least thirty-two characters").unwrap();
    for failure in [store.keys().unwrap_err(), store.add(&Env::system(), None, vec![], vec![]).unwrap_err()] {
        assert!(failure.to_string().contains("not the one it was made with"), "{failure}");
    }
    std::fs::write(&wrap, "short").unwrap();
    assert!(store.keys().unwrap_err().to_string().contains("at least 32"));
    std::fs::set_permissions(&wrap, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(store.keys().unwrap_err().to_string().contains("chmod 600"));
    std::fs::remove_file(&wrap).unwrap();
    assert!(store.keys().is_err() && !wrap.exists());
    assert!(store.add(&Env::system(), None, vec![], vec![]).is_err() && !wrap.exists());
    // A key whose secret cannot be opened can be removed.
    store.remove("a").unwrap();
    add(&store, "b");
}

#[test]
fn rights_changed_by_hand_do_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    add(&store, "a");
    let text = std::fs::read_to_string(&store.file).unwrap();
    std::fs::write(&store.file, text.replace("pub*", "*")).unwrap();
    assert!(store.keys().unwrap_err().to_string().contains("changed by hand"));
}

#[test]
fn a_running_gateway_sees_what_is_added_and_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let watched = Watched::new(store.clone()).unwrap();
    let ids = || watched.current().iter().map(|key| key.id.clone()).collect::<Vec<_>>();
    assert!(ids().is_empty());
    add(&store, "a");
    add(&store, "b");
    assert_eq!(ids(), ["a", "b"]);
    assert!(Arc::ptr_eq(&watched.current(), &watched.current()));
    store.remove("a").unwrap();
    assert_eq!(ids(), ["b"]);
    std::fs::write(&store.file, "not JSON").unwrap();
    assert_eq!(ids(), ["b"]);
    std::fs::remove_file(&store.file).unwrap();
    assert!(ids().is_empty());
}
