//! The key pairs that `rsb key add` makes, in a file beside the catalog that only its owner reads. A signature of S3's is
//! checked with the secret itself, so secrets are not hashed but encrypted (AES-256-GCM), each bound to the id, rights and
//! buckets of its key: changed by hand, none of them opens. The wrapping key is not in the file.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rsb_core::Env;
use rsb_gateway::{AccessKey, KeySource, Right, Secret};
use serde::{Deserialize, Serialize};

use crate::config::{self, Config};
use crate::failure::{FAILED, Failure, NOT_FOUND};

/// The version of the file's form.
const VERSION: u32 = 1;
/// What the wrapping key is derived for.
const CONTEXT: &str = "RSBackup key store v1: the secrets of key pairs";
/// A text that secrets are wrapped with has at least this many characters.
const MIN_WRAPPING: usize = 32;
/// Random bytes of an id and of a secret; each becomes two characters.
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 20;

/// The file.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    keys: Vec<Entry>,
}

/// A key pair as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The public half.
    pub id: String,
    /// What it may do.
    pub rights: Vec<Right>,
    /// In which buckets.
    pub buckets: Vec<String>,
    /// When it was made, in ms since 1970.
    pub created_ms: u64,
    /// 12 bytes, in hex.
    nonce: String,
    /// The secret, encrypted, in hex.
    secret: String,
}

impl Entry {
    /// What the secret is bound to.
    fn bound(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(&(&self.id, &self.rights, &self.buckets, self.created_ms))
            .map_err(|error| Failure::new(FAILED, error.to_string()))
    }
}

/// Where the text is that the wrapping key is made from.
#[derive(Clone, Debug)]
enum Wrapping {
    /// In a file of ours, made at the first use.
    Own(PathBuf),
    /// In a file of the user's.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

/// The key pairs of a config's repository.
#[derive(Clone, Debug)]
pub struct KeyStore {
    file: PathBuf,
    wrapping: Wrapping,
}

impl KeyStore {
    /// The store of a config. Nothing is read yet.
    pub fn of(config: &Config) -> Self {
        let file = config.key_store();
        let wrapping = match &config.gateway.key_store.wrapping {
            Some(config::Secret::File(path)) => Wrapping::File(config.path(path)),
            Some(config::Secret::Env(name)) => Wrapping::Env(name.clone()),
            Some(config::Secret::Inline(_)) | None => Wrapping::Own(beside(&file, ".wrap")),
        };
        Self { file, wrapping }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The key pairs, without their secrets; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be.
    pub fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let name = self.file.display();
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::local(format!("the key pairs in {name} cannot be read"), &error)),
        };
        let document: Document = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("{name} is not a file of key pairs ({error}); put the right one back, or delete it"))
        })?;
        if document.version != VERSION {
            return Err(Failure::usage(format!(
                "{name} has version {} and this program reads version {VERSION}; use a newer one",
                document.version
            )));
        }
        Ok(document.keys)
    }

    /// The key pairs with their secrets.
    ///
    /// # Errors
    /// As [`entries`](Self::entries); the wrapping key is away, or is not the one they were made with.
    pub fn keys(&self) -> Result<Vec<AccessKey>, Failure> {
        let entries = self.entries()?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.wrapping_key(None)?;
        entries.iter().map(|entry| self.open(&key, entry)).collect()
    }

    fn open(&self, key: &LessSafeKey, entry: &Entry) -> Result<AccessKey, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "the secret of key {:?} in {} cannot be opened: the wrapping key ({}) is not the one it was made with, or the file was changed by hand; put the right one back, or remove the key and add it anew",
                entry.id,
                self.file.display(),
                self.wrapping.describe()
            ))
        };
        let nonce: [u8; NONCE_LEN] =
            hex::decode(&entry.nonce).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        let mut secret = hex::decode(&entry.secret).map_err(|_| wrong())?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.open_in_place(nonce, Aad::from(entry.bound()?), &mut secret).map_err(|_| wrong())?;
        let secret = String::from_utf8(opened.to_vec()).map_err(|_| wrong())?;
        Ok(AccessKey {
            id: entry.id.clone(),
            secret: Secret::new(secret),
            rights: entry.rights.iter().copied().collect(),
            buckets: entry.buckets.clone(),
        })
    }

    /// Makes a key pair and keeps it; gives its id and its secret, which is not to be had again.
    ///
    /// # Errors
    /// There is such an id; the store cannot be read or written.
    pub fn add(
        &self,
        env: &Env,
        id: Option<String>,
        rights: Vec<Right>,
        buckets: Vec<String>,
    ) -> Result<(Entry, String), Failure> {
        let _lock = self.lock()?;
        let mut entries = self.entries()?;
        let id = id.unwrap_or_else(|| format!("rsb-{}", random(env, ID_BYTES)));
        if entries.iter().any(|entry| entry.id == id) {
            return Err(Failure::of_kind("already-exists", format!("there is a key {id:?} already"), None, Vec::new()));
        }
        // Also where one wraps with another key than those before were wrapped with: then the store would never open.
        self.keys()?;
        let key = self.wrapping_key(Some(env))?;
        let secret = random(env, SECRET_BYTES);
        let mut nonce = [0; NONCE_LEN];
        env.fill(&mut nonce);
        let (nonce_text, created_ms) = (hex::encode(nonce), env.now_ms());
        let mut entry = Entry { id, rights, buckets, created_ms, nonce: nonce_text, secret: String::new() };
        let mut sealed = secret.clone().into_bytes();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(entry.bound()?), &mut sealed)
            .map_err(|_| Failure::new(FAILED, "the secret cannot be encrypted"))?;
        entry.secret = hex::encode(sealed);
        entries.push(entry.clone());
        self.write(entries)?;
        Ok((entry, secret))
    }

    /// Removes a key pair. A gateway that runs refuses it from its next request on.
    ///
    /// # Errors
    /// There is no such key; the store cannot be read or written.
    pub fn remove(&self, id: &str) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let mut entries = self.entries()?;
        let before = entries.len();
        entries.retain(|entry| entry.id != id);
        if entries.len() == before {
            return Err(Failure::new(NOT_FOUND, format!("there is no key {id:?} in {}", self.file.display())));
        }
        self.write(entries)
    }

    /// Held while the file is changed. The lock's own file stays.
    fn lock(&self) -> Result<File, Failure> {
        let path = beside(&self.file, ".lock");
        let cannot = |error| Failure::local(format!("{} cannot be locked", path.display()), &error);
        let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        Ok(file)
    }

    /// Puts a whole new file in the place of the old.
    fn write(&self, keys: Vec<Entry>) -> Result<(), Failure> {
        let cannot = |error| Failure::local(format!("{} cannot be written", self.file.display()), &error);
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, keys })
            .map_err(|error| Failure::new(FAILED, error.to_string()))?;
        // Readable by its owner alone from the first moment on.
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        new.write_all(&text).and_then(|()| new.as_file().sync_all()).map_err(cannot)?;
        new.persist(&self.file).map_err(|error| cannot(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
    }

    /// The key that secrets are wrapped with; made where it is ours, missing, and there is an `env` to make it from.
    fn wrapping_key(&self, env: Option<&Env>) -> Result<LessSafeKey, Failure> {
        let text = self.wrapping.text(env, &self.file)?;
        if text.len() < MIN_WRAPPING {
            return Err(Failure::usage(format!(
                "the text that secrets are wrapped with ({}) has {} characters; write at least {MIN_WRAPPING}, random ones",
                self.wrapping.describe(),
                text.len()
            )));
        }
        let key = blake3::derive_key(CONTEXT, text.as_bytes());
        let key =
            UnboundKey::new(&AES_256_GCM, &key).map_err(|_| Failure::new(FAILED, "the wrapping key cannot be used"))?;
        Ok(LessSafeKey::new(key))
    }
}

impl Wrapping {
    fn describe(&self) -> String {
        match self {
            Self::Own(path) | Self::File(path) => path.display().to_string(),
            Self::Env(name) => format!("the environment's {name}"),
        }
    }

    fn text(&self, env: Option<&Env>, store: &Path) -> Result<String, Failure> {
        let (path, own) = match self {
            Self::Env(name) => {
                return std::env::var(name).map(|text| text.trim().to_owned()).map_err(|_| {
                    Failure::usage(format!(
                        "{name}, which the secrets in {} are wrapped with, is not set",
                        store.display()
                    ))
                });
            }
            Self::Own(path) => (path, true),
            Self::File(path) => (path, false),
        };
        let name = path.display();
        match (std::fs::read_to_string(path), env) {
            (Ok(text), _) => {
                let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
                if own && mode & 0o077 != 0 {
                    return Err(Failure::usage(format!(
                        "others may read {name}, which opens all secrets; chmod 600 {name}"
                    )));
                }
                Ok(text.trim().to_owned())
            }
            (Err(error), Some(env)) if own && error.kind() == ErrorKind::NotFound => {
                let text = random(env, 32);
                let cannot = |error| Failure::local(format!("the wrapping key cannot be kept in {name}"), &error);
                let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
                file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
                Ok(text)
            }
            (Err(error), _) => Err(Failure::usage(format!(
                "{name}, which the secrets in {} are wrapped with, cannot be read: {error}",
                store.display()
            ))),
        }
    }
}

/// The file's name with something behind it.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Random bytes in hex.
fn random(env: &Env, bytes: usize) -> String {
    let mut out = vec![0; bytes];
    env.fill(&mut out);
    hex::encode(out)
}

/// What tells one state of a file from another; `None` when there is none.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

/// The store as a running gateway sees it: read again whenever its file is another one.
pub struct Watched {
    store: KeyStore,
    seen: Mutex<(Stamp, Arc<Vec<AccessKey>>)>,
}

impl Watched {
    /// Reads the store.
    ///
    /// # Errors
    /// As [`KeyStore::keys`].
    pub fn new(store: KeyStore) -> Result<Self, Failure> {
        let stamp = stamp(&store.file);
        let keys = Arc::new(store.keys()?);
        Ok(Self { store, seen: Mutex::new((stamp, keys)) })
    }
}

impl KeySource for Watched {
    fn current(&self) -> Arc<Vec<AccessKey>> {
        let now = stamp(&self.store.file);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != now {
            seen.0 = now;
            match self.store.keys() {
                Ok(keys) => seen.1 = Arc::new(keys),
                // A key that cannot be opened any more was not removed by anybody, and may be in use.
                Err(error) => tracing::error!("{error}; the keys stay as they were"),
            }
        }
        seen.1.clone()
    }
}

fn stamp(file: &Path) -> Stamp {
    let m = std::fs::metadata(file).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
}

#[cfg(test)]
mod tests;
