//! The key pair that `serve` makes at its first start on loopback: kept beside the catalog in a file that only its owner
//! reads, and told once.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rsb_core::Env;
use rsb_gateway::{AccessKey, Right, Secret};

use crate::assemble;
use crate::config::Config;
use crate::failure::Failure;

/// Random bytes of an id and of a secret; each becomes two characters.
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 20;

/// A key pair, and whether it was made just now.
pub struct KeyPair {
    /// The public half.
    pub id: String,
    secret: String,
    /// The file it is in.
    pub file: PathBuf,
    /// It was made at this start, so it is to be told.
    pub is_new: bool,
}

impl KeyPair {
    /// The pair beside a config's catalog, made where there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no pair.
    pub fn beside(config: &Config) -> Result<Self, Failure> {
        let file = match assemble::catalog_file(config)? {
            Some(catalog) => {
                let mut name = OsString::from(catalog);
                name.push(".key");
                PathBuf::from(name)
            }
            None => config.path(Path::new("rsb.key")),
        };
        Self::at(file, &Env::system())
    }

    fn at(file: PathBuf, env: &Env) -> Result<Self, Failure> {
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::read(&text, file),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(file, env),
            Err(error) => Err(Failure::local(format!("the key pair in {} cannot be read", file.display()), &error)),
        }
    }

    fn read(text: &str, file: PathBuf) -> Result<Self, Failure> {
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [id, secret] if !id.contains(':') => {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned(), file, is_new: false })
            }
            _ => Err(Failure::usage(format!(
                "{} holds no key pair, an id and a secret on two lines; delete it, and the next start makes a new one",
                file.display()
            ))),
        }
    }

    fn make(file: PathBuf, env: &Env) -> Result<Self, Failure> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        env.fill(&mut id);
        env.fill(&mut secret);
        let (id, secret) = (format!("rsb-{}", hex::encode(id)), hex::encode(secret));
        let cannot =
            |e: std::io::Error| Failure::local(format!("the key pair cannot be kept in {}", file.display()), &e);
        // Private from its first moment on, and never over another file.
        let new = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file);
        let mut new = new.map_err(cannot)?;
        new.write_all(format!("{id}\n{secret}\n").as_bytes()).and_then(|()| new.sync_all()).map_err(cannot)?;
        Ok(Self { id, secret, file, is_new: true })
    }

    /// The pair with all rights everywhere.
    pub fn access(&self) -> AccessKey {
        AccessKey {
            id: self.id.clone(),
            secret: Secret::new(self.secret.clone()),
            rights: [Right::Read, Right::Write, Right::Delete, Right::Admin].into(),
            buckets: vec!["*".into()],
        }
    }

    /// Takes a pair that was made at this start away again.
    pub fn forget_new(&self) -> Result<(), Failure> {
        let cannot = |e| Failure::local(format!("{} cannot be deleted", self.file.display()), &e);
        if self.is_new { std::fs::remove_file(&self.file).map_err(cannot) } else { Ok(()) }
    }

    /// What is told at the first start, and only then.
    pub fn announcement(&self) -> String {
        format!("key pair, told this once and kept in {}: {} {}", self.file.display(), self.id, self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_private_and_found_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rsb.db.key");
        let made = KeyPair::at(file.clone(), &Env::system()).unwrap();
        assert!(made.is_new && made.secret.len() == 40);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = KeyPair::at(file.clone(), &Env::system()).unwrap();
        assert_eq!((again.id, again.secret, again.is_new), (made.id, made.secret, false));
        std::fs::write(&file, "only-an-id\n").unwrap();
        assert!(KeyPair::at(file, &Env::system()).is_err());
    }
}
