//! `BUCKET`, `BUCKET/KEY` and `BUCKET/PREFIX` as a person types them.

use rsb_core::names::{check_bucket, check_key};

use crate::failure::Failure;

/// An object's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The bucket.
    pub bucket: String,
    /// The key, or a prefix, or nothing.
    pub key: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key.is_empty() {
            true => f.write_str(&self.bucket),
            false => write!(f, "{}/{}", self.bucket, self.key),
        }
    }
}

impl Name {
    /// `BUCKET/KEY`, both needed.
    pub fn object(text: &str) -> Result<Self, Failure> {
        let name = Self::any(text)?;
        if name.key.is_empty() {
            return Err(Failure::usage(format!("{text:?} names a bucket and no object; write BUCKET/KEY")));
        }
        check_key(&name.key)?;
        Ok(name)
    }

    /// `BUCKET` alone.
    pub fn bucket(text: &str) -> Result<String, Failure> {
        let name = Self::any(text)?;
        if !name.key.is_empty() {
            return Err(Failure::usage(format!("{text:?} is not a bucket's name, which has no slash in it")));
        }
        Ok(name.bucket)
    }

    /// `BUCKET`, `BUCKET/` or `BUCKET/ANYTHING`.
    pub fn any(text: &str) -> Result<Self, Failure> {
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        check_bucket(bucket)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The object that `file_name` becomes when it is put here: below a bucket or a key that ends with `/`, else the key.
    pub fn target(&self, file_name: &str) -> Result<Self, Failure> {
        let key = match self.key.is_empty() || self.key.ends_with('/') {
            true => format!("{}{file_name}", self.key),
            false => self.key.clone(),
        };
        check_key(&key)?;
        Ok(Self { bucket: self.bucket.clone(), key })
    }

    /// The prefix of everything below this, taken as a folder: `x` means `x/…` and never `xylophone`.
    pub fn folder(&self) -> String {
        match self.key.is_empty() || self.key.ends_with('/') {
            true => self.key.clone(),
            false => format!("{}/", self.key),
        }
    }

    /// The last part of the key.
    pub fn file_name(&self) -> &str {
        self.key.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::USAGE;

    #[test]
    fn names_are_taken_apart_and_bad_ones_are_wrong_usage() {
        let name = Name::object("photos/2020/cat.jpg").unwrap();
        assert_eq!((name.bucket.as_str(), name.key.as_str(), name.file_name()), ("photos", "2020/cat.jpg", "cat.jpg"));
        assert_eq!(Name::any("photos").unwrap().target("a").unwrap().key, "a");
        assert_eq!(Name::any("photos/x/").unwrap().target("a").unwrap().key, "x/a");
        assert_eq!(Name::any("photos/x").unwrap().target("a").unwrap().key, "x");
        assert_eq!(Name::any("photos/x").unwrap().folder(), "x/");
        for bad in ["photos", "photos/", "photos/a/../b", "ph/x", "/x", ""] {
            assert_eq!(Name::object(bad).unwrap_err().code(), USAGE, "{bad}");
        }
        assert!(Name::bucket("photos/x").is_err());
    }
}
