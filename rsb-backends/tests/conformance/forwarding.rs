//! Each wrapper hands every method of the trait on with all that the options say, and hands the whole answer back.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Extensions, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, TagSet, UpdateVersion, UploadPart,
};

use crate::open::wrappers;

/// An extension: it shows nothing of itself when printed, so it is looked for.
#[derive(Clone, Debug)]
struct Mark(&'static str);

fn marked(text: &'static str) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(Mark(text));
    extensions
}

fn mark(extensions: &Extensions) -> &'static str {
    extensions.get::<Mark>().map_or("no mark", |mark| mark.0)
}

const BODY: &[u8] = b"0123456789";

/// Writes down what it is asked, and answers with values that are easy to recognise.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, asked: String) {
        self.0.lock().unwrap().push(asked);
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(name),
        last_modified: UNIX_EPOCH.into(),
        size: BODY.len() as u64,
        e_tag: Some("tag".into()),
        version: Some("version".into()),
    }
}

fn put_result(text: &'static str) -> PutResult {
    PutResult { e_tag: Some(text.into()), version: Some("version".into()), extensions: marked(text) }
}

/// One only: they have no order when printed.
fn attributes() -> Attributes {
    Attributes::from_iter([(Attribute::Metadata("a".into()), "b")])
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Recorder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.note(format!("put {location} {:?} {opts:?} {}", Bytes::from(payload), mark(&opts.extensions)));
        Ok(put_result("put"))
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.note(format!("upload {location} {:?} {:?} {}", opts.tags, opts.attributes, mark(&opts.extensions)));
        Ok(Box::new(self.clone()))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(format!("get {location} {options:?} {}", mark(&options.extensions)));
        let range = match options.range {
            Some(GetRange::Bounded(range)) => range,
            _ => 0..BODY.len() as u64,
        };
        let body = match options.head {
            true => Bytes::new(),
            false => Bytes::from_static(&BODY[range.start as usize..range.end as usize]),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(body)]).boxed()),
            meta: meta(location.as_ref()),
            range,
            attributes: attributes(),
            extensions: marked("get"),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.note(format!("get_ranges {location} {ranges:?}"));
        Ok(ranges.iter().map(|r| Bytes::from_static(&BODY[r.start as usize..r.end as usize])).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations.inspect(move |path| this.note(format!("delete {path:?}"))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note(format!("list {prefix:?}"));
        stream::iter(["p/1", "p/2"].map(meta).map(Ok)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note(format!("list_with_offset {prefix:?} {offset}"));
        stream::iter([Ok(meta("p/2"))]).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note(format!("list_with_delimiter {prefix:?}"));
        let (common_prefixes, objects) = (vec![Path::from("p/a")], vec![meta("p/1")]);
        Ok(ListResult { common_prefixes, objects, extensions: marked("level") })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note(format!("copy {from} {to} {options:?} {}", mark(&options.extensions)));
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.note(format!("rename {from} {to} {options:?} {}", mark(&options.extensions)));
        Ok(())
    }
}

#[async_trait::async_trait]
impl MultipartUpload for Recorder {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.note(format!("part {:?}", Bytes::from(data)));
        async { Ok(()) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.note("complete".into());
        Ok(put_result("complete"))
    }

    async fn abort(&mut self) -> Result<()> {
        self.note("abort".into());
        Ok(())
    }
}

fn put_options() -> PutOptions {
    let mut tags = TagSet::default();
    tags.push("tag", "1");
    let mode = PutMode::Update(UpdateVersion { e_tag: Some("t".into()), version: Some("v".into()) });
    PutOptions { mode, tags, attributes: attributes(), extensions: marked("put") }
}

fn get_options(head: bool) -> GetOptions {
    GetOptions {
        if_match: Some("m".into()),
        if_none_match: Some("n".into()),
        if_modified_since: Some(UNIX_EPOCH.into()),
        if_unmodified_since: Some(UNIX_EPOCH.into()),
        range: Some(GetRange::Bounded(2..5)),
        version: Some("v".into()),
        head,
        extensions: marked("get"),
    }
}

/// Asks every method, with every option; gives what was answered.
async fn ask(store: &dyn ObjectStore) -> Vec<String> {
    let (x, y, p) = (Path::from("p/x"), Path::from("p/y"), Path::from("p"));
    let mut told = Vec::new();
    let mut put = |done: PutResult| told.push(format!("{done:?} {}", mark(&done.extensions)));
    put(store.put_opts(&x, "bytes".into(), put_options()).await.unwrap());
    let PutOptions { tags, attributes, extensions, .. } = put_options();
    let mut upload = store.put_multipart_opts(&x, PutMultipartOptions { tags, attributes, extensions }).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    put(upload.complete().await.unwrap());
    upload.abort().await.unwrap();
    for head in [false, true] {
        let GetResult { payload, meta, range, attributes, extensions } =
            store.get_opts(&x, get_options(head)).await.unwrap();
        let GetResultPayload::Stream(body) = payload else { panic!("a stream stays one") };
        let body: Vec<Bytes> = body.try_collect().await.unwrap();
        told.push(format!("{:?} {meta:?} {range:?} {attributes:?} {}", body.concat(), mark(&extensions)));
    }
    told.push(format!("{:?}", store.get_ranges(&x, &[1..3, 2..6]).await.unwrap()));
    let paths = stream::iter([x.clone(), y.clone()]).map(Ok).boxed();
    told.push(format!("{:?}", store.delete_stream(paths).try_collect::<Vec<_>>().await.unwrap()));
    told.push(format!("{:?}", store.list(Some(&p)).try_collect::<Vec<_>>().await.unwrap()));
    let after = store.list_with_offset(Some(&p), &Path::from("p/1"));
    told.push(format!("{:?}", after.try_collect::<Vec<_>>().await.unwrap()));
    let level = store.list_with_delimiter(Some(&p)).await.unwrap();
    told.push(format!("{level:?} {}", mark(&level.extensions)));
    store.copy_opts(&x, &y, CopyOptions { mode: CopyMode::Create, extensions: marked("copy") }).await.unwrap();
    let rename = RenameOptions { target_mode: RenameTargetMode::Create, extensions: marked("rename") };
    store.rename_opts(&x, &y, rename).await.unwrap();
    told
}

#[tokio::test]
async fn every_method_is_handed_on_whole() {
    let bare = Recorder::default();
    let expected = ask(&bare).await;
    assert!(!expected.iter().chain(&*bare.0.lock().unwrap()).any(|line| line.contains("no mark")));
    // `Exact` makes reads of one range each out of it, whose length it checks.
    let several = |line: &&String| !line.starts_with("get_ranges") && !line.contains("Bounded(1..6)");
    let seen: Vec<String> = bare.0.lock().unwrap().iter().filter(several).cloned().collect();
    let recorders = Mutex::new(Vec::new());
    let all = wrappers(|name| {
        let recorder = Recorder::default();
        recorders.lock().unwrap().push((name.to_owned(), recorder.clone()));
        Arc::new(recorder)
    });
    for ((name, store), (of, recorder)) in all.iter().zip(recorders.into_inner().unwrap()) {
        assert_eq!(*name, of);
        assert_eq!(ask(&**store).await, expected, "{name}: the answers");
        let asked: Vec<String> = recorder.0.lock().unwrap().iter().filter(several).cloned().collect();
        assert_eq!(asked, seen, "{name}: what the store is asked");
        let exact = ["exact", "wrap"].contains(name);
        let forwarded = recorder.0.lock().unwrap().iter().any(|line| line.starts_with("get_ranges"));
        assert_eq!(forwarded, !exact, "{name}: several ranges");
    }
}
