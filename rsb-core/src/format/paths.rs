//! Where things lie on a backend. The layout is written here and nowhere else.
//!
//! ```text
//! rsb.json                      the marker
//! m/<6 hex>/<batch id>          a manifest file; the folder is the id's first 24 bits
//! s/<2 hex>/<data id>.<shard>   a shard; the folder is the id's last byte
//! ```

use object_store::path::Path;

use crate::id::{BatchId, DataId};

/// The marker file.
pub fn marker() -> Path {
    Path::from("rsb.json")
}

/// The folder of all manifest files.
pub fn manifests() -> Path {
    Path::from("m")
}

/// The folder of all shards.
pub fn shards() -> Path {
    Path::from("s")
}

/// A manifest file.
pub fn batch(id: BatchId) -> Path {
    let text = id.0.simple().to_string();
    Path::from(format!("m/{}/{}", &text[..6], id.0))
}

/// One shard of one segment.
pub fn shard(id: DataId, index: usize) -> Path {
    let last = id.0.as_bytes()[15];
    Path::from(format!("s/{last:02x}/{}.{index}", id.0))
}

/// The batch a listed manifest path names; `None` for a foreign file.
pub(crate) fn parse_batch(path: &Path) -> Option<BatchId> {
    let id = path.filename()?.parse().ok()?;
    (batch(id) == *path).then_some(id)
}

/// The data id and shard index a listed shard path names; `None` for a foreign file.
pub(crate) fn parse_shard(path: &Path) -> Option<(DataId, usize)> {
    let (id, index) = path.filename()?.rsplit_once('.')?;
    let (id, index) = (id.parse().ok()?, index.parse().ok()?);
    (index < 256 && shard(id, index) == *path).then_some((id, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[test]
    fn paths_parse_back_and_foreign_files_do_not() {
        let env = Env::system();
        let (b, d) = (BatchId(env.new_id()), DataId(env.new_id()));
        assert_eq!(parse_batch(&batch(b)), Some(b));
        assert_eq!(parse_shard(&shard(d, 12)), Some((d, 12)));
        for foreign in ["s/00/readme.txt", "s/zz/x.1", "m/000000/notes", "m/.DS_Store"] {
            assert_eq!(parse_shard(&Path::from(foreign)), None);
            assert_eq!(parse_batch(&Path::from(foreign)), None);
        }
        let misplaced = Path::from(format!("m/000000/{}", b.0));
        assert_eq!(parse_batch(&misplaced), None);
    }
}
