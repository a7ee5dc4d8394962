//! What is said of an object beside its bytes, on both sides.

use std::collections::BTreeMap;

use chrono::DateTime;
use object_store::path::Path;
use object_store::{Attribute, AttributeValue, Attributes, Extensions, ObjectMeta, PutResult, TagSet};

use crate::api::{Described, ObjectInfo};

/// object_store's attributes that are not the user's, and the engine's names of them: those of HTTP, as the gateway keeps them.
const SYSTEM: [(Attribute, &str); 6] = [
    (Attribute::CacheControl, "cache-control"),
    (Attribute::ContentDisposition, "content-disposition"),
    (Attribute::ContentEncoding, "content-encoding"),
    (Attribute::ContentLanguage, "content-language"),
    (Attribute::ContentType, "content-type"),
    (Attribute::StorageClass, "x-amz-storage-class"),
];

/// The path of a key; `None` where no path names it.
pub(super) fn path_of(key: &str) -> Option<Path> {
    Path::parse(key).ok().filter(|path| !key.is_empty() && path.as_ref() == key)
}

/// The entity tag in quotes.
pub(super) fn e_tag(info: &ObjectInfo) -> String {
    format!("\"{}\"", info.etag())
}

/// The version, where it stays readable after the next write of its key.
fn version(info: &ObjectInfo) -> Option<String> {
    (!info.manifest.null_version).then(|| info.version().to_string())
}

pub(super) fn meta(location: Path, info: &ObjectInfo) -> ObjectMeta {
    let ms = i64::try_from(info.modified_ms()).unwrap_or(i64::MAX);
    ObjectMeta {
        location,
        last_modified: DateTime::from_timestamp_millis(ms).unwrap_or_default(),
        size: info.size(),
        e_tag: Some(e_tag(info)),
        version: version(info),
    }
}

/// What a write says of its object. All that is known of it comes along.
pub(super) fn written(info: ObjectInfo) -> PutResult {
    PutResult { e_tag: Some(e_tag(&info)), version: version(&info), extensions: known(info) }
}

/// What is known of an object, as an extension of a result.
pub(super) fn known(info: ObjectInfo) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(info);
    extensions
}

pub(super) fn describe(attributes: &Attributes) -> Described {
    let mut out = Described::default();
    for (attribute, value) in attributes {
        let value = value.as_ref().to_owned();
        match (attribute, SYSTEM.iter().find(|(known, _)| known == attribute)) {
            (_, Some((_, name))) => out.attributes.insert((*name).to_owned(), value),
            (Attribute::Metadata(name), None) => out.metadata.insert(name.to_string(), value),
            (_, None) => None,
        };
    }
    out
}

pub(super) fn attributes(info: &ObjectInfo) -> Attributes {
    let m = &info.manifest;
    let value = |text: &String| AttributeValue::from(text.clone());
    let system = SYSTEM.iter().filter_map(|(known, name)| Some((known.clone(), value(m.attributes.get(*name)?))));
    let own = m.metadata.iter().map(|(name, text)| (Attribute::Metadata(name.clone().into()), value(text)));
    system.chain(own).collect()
}

pub(super) fn tags(tags: &TagSet) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(tags.encoded().as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_a_path_gives_back_have_one() {
        for key in ["a", "a/b.c", "ü b/%41", "a%2Fb"] {
            assert_eq!(path_of(key).unwrap().as_ref(), key);
        }
        for key in ["", "/a", "a/", "a//b", "a/./b"] {
            assert_eq!(path_of(key), None, "{key}");
        }
    }

    #[test]
    fn tags_are_read_back_from_their_url_form() {
        let mut set = TagSet::default();
        set.push("foo.com=bar/s", "bananas & more");
        set.push("ü", "");
        let expected = [("foo.com=bar/s", "bananas & more"), ("ü", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags(&set), BTreeMap::from(expected));
    }
}
