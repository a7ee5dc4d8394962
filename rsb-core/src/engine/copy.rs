//! Copies, which move no bytes.

use super::Engine;
use crate::api::{CopyRequest, Late, ObjectInfo, PutRequest};
use crate::catalog::{BucketRule, Precondition, Reserved};
use crate::error::Result;
use crate::format::manifest::{Body, Manifest, Record, Versions};
use crate::id::DataId;
use crate::recover::check_decided;
use crate::{names, read, write};

impl Engine {
    /// Copies an object's newest version with its metadata; see [`Engine::copy_object`].
    pub async fn copy(&self, from: (&str, &str), to: (&str, &str), precondition: Precondition) -> Result<ObjectInfo> {
        let owned = |(bucket, key): (&str, &str)| (bucket.to_owned(), key.to_owned());
        let (from, to) = (owned(from), owned(to));
        self.copy_object(CopyRequest { from, to, precondition, ..CopyRequest::default() }).await
    }

    /// Copies a version of an object. Moves no bytes: the new manifest points at the same segments (a small object's record
    /// is written anew, and so is what gets another scheme). `NotFound` where the source or the target's bucket does not exist.
    pub async fn copy_object(&self, request: CopyRequest) -> Result<ObjectInfo> {
        self.core.check_writable()?;
        let (from, to) = (request.from, request.to);
        names::check_bucket(&to.0)?;
        names::check_key(&to.1)?;
        // Refused before anything is read.
        let target = self.bucket(&to.0).await?;
        request.lock.check_new(&target, self.core.env.now_ms())?;
        // From here on it may name the places that the source has now: a drain waits for it.
        let _arriving = self.core.arriving(DataId(self.core.env.new_id()));
        let held = read::hold(&self.core, &from.0, &from.1, request.version).await?;
        let mut source = held.entry.manifest.clone();
        if let Some(described) = request.replace {
            (source.attributes, source.metadata) = (described.attributes, described.metadata);
        }
        if let Some(tags) = request.tags {
            source.tags = tags;
        }
        let scheme = source.scheme().unwrap_or(self.core.config.scheme);
        let k = request.data_shards.unwrap_or(scheme.k());
        let m = request.parity_shards.unwrap_or(scheme.m());
        if !matches!(source.body, Body::Segments(_)) || (k, m) != (scheme.k(), scheme.m()) {
            let put = PutRequest {
                bucket: to.0,
                key: to.1,
                len: Some(source.size),
                precondition: request.precondition,
                data_shards: Some(k),
                parity_shards: Some(m),
                attributes: source.attributes,
                metadata: source.metadata,
                tags: source.tags,
                lock: request.lock,
                run_digests: source.run_digests.is_some(),
                // One made of the checksums of parts is not passed on to what has no parts.
                checksum: source.checksum.filter(|sum| !sum.composite).map(Late::from).unwrap_or_default(),
            };
            let body = read::open(&self.core, held, 0..source.size).stream;
            return write::put(&self.core, &self.committer, put, body).await;
        }
        check_decided(&self.core, &source).await?;
        let ((bucket, key), modified_ms) = (to.clone(), self.core.env.now_ms());
        let (scheme, lock) = (source.scheme(), request.lock);
        let make = move |reserved: &Reserved| {
            let keep_all = reserved.bucket.as_ref().is_some_and(|b| b.settings.versions == Versions::KeepAll);
            lock.of_new(reserved.bucket.as_ref(), modified_ms).write(&mut source.extra);
            Record::Version(Manifest {
                bucket,
                key,
                version: reserved.version,
                revision: 0,
                modified_ms,
                null_version: !keep_all,
                ..source
            })
        };
        let (b, k) = to;
        let done = self.commit_plain(b, k, request.precondition, BucketRule::Exists, scheme, Box::new(make)).await?;
        // The lease on the source's segments is held until the copy names them too.
        drop(held.lease);
        write::info_of(done, 0)
    }
}
