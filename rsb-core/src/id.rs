//! The ids of DESIGN's words: each its own type, so that a data id is never taken for a version id.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The least id, below every real one.
            pub const MIN: Self = Self(Uuid::nil());
            /// The greatest id, above every real one.
            pub const MAX: Self = Self(Uuid::max());

            /// The millisecond (Unix, UTC) in which the id was made.
            pub fn unix_ms(self) -> u64 {
                crate::env::id_ms(self.0)
            }
            /// The least id greater than this one.
            #[must_use]
            pub fn after(self) -> Self {
                Self(crate::env::id_after(self.0))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(self.0.as_bytes()).map(|_| ())
            }
        }
        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Uuid::from_slice(d.bytes()?)
                    .map(Self)
                    .map_err(|_| minicbor::decode::Error::message("an id is 16 bytes"))
            }
        }
    };
}

id_type! {
    /// A repository, made once by `rsb config init` and written in every marker, shard and manifest file.
    RepositoryId
}
id_type! {
    /// A version of an object, given when its write is ready to commit: always greater than every earlier id of its key.
    VersionId
}
id_type! {
    /// A segment's bytes, given when they begin to arrive; names the segment's shards.
    DataId
}
id_type! {
    /// A multipart upload, given when it is begun.
    UploadId
}
id_type! {
    /// A manifest file: a batch of one or more records.
    BatchId
}
