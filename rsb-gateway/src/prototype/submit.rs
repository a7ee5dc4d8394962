//! `POST /submit_data`: a file comes in as a form. The form's parts may come in any order, and none of the file is held
//! back for the ones behind it: the stream that the engine reads goes on to the form's end, so a form that turns out to be
//! wrong there undoes the write. A file whose name comes behind it is written under a temporary key and then copied, which
//! moves no bytes.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use multer::Field;
use rsb_core::catalog::Precondition;
use rsb_core::format::manifest::BucketSettings;
use rsb_core::{BodyStream, Engine, Error, ErrorKind, ObjectInfo, PutRequest};
use serde::Serialize;
use warp::reply::Response;

use super::{UPLOADS, check_name, hex_all, json, remove_upload};
use crate::call::Call;
use crate::config::Right;
use crate::form::{Form, bad, from_multer, text};
use crate::problem::Problem;

/// Bytes of a field other than `file`.
const MAX_FIELD_BYTES: usize = 8 << 10;

/// What a successful upload is told.
#[derive(Serialize)]
struct Submitted {
    size: u64,
    hashes: Vec<String>,
    data_shards: u16,
    parity_shards: u16,
}

/// The form's fields beside the file.
#[derive(Clone, Debug, Default)]
struct Fields {
    filename: Option<String>,
    data_shards: Option<usize>,
    parity_shards: Option<usize>,
}

pub(crate) async fn serve(mut call: Call) -> Result<Response, Problem> {
    if call.method() != Method::POST {
        return Err(Problem::method(call.method(), "POST"));
    }
    call.allow_prototype(Right::Write)?;
    let body = call.take_body();
    let mut form = Form::new(call.header(CONTENT_TYPE.as_str())?, body)?;
    let mut fields = Fields::default();
    let file = loop {
        match form.next().await? {
            Some(part) if part.name() == Some("file") => break part,
            Some(part) => fields.take(part).await?,
            None => return Err(Problem::invalid("the form has no part \"file\"")),
        }
    };
    let engine = call.allow_prototype(Right::Write)?;
    let mut info = store(&call, engine, form, file, fields).await?;
    if info.manifest.run_digests.is_none() {
        // They were made after the write, as its length was not known, and stand in a newer revision.
        info = engine.head(&info.manifest.bucket, &info.manifest.key, Some(info.version())).await?;
    }
    let hashes = hex_all(&engine.run_digests(&info).await?);
    let (data_shards, parity_shards) = info.scheme().map_or((0, 0), |s| (s.data_shards, s.parity_shards));
    Ok(json(&Submitted { size: info.size(), hashes, data_shards, parity_shards }))
}

impl Fields {
    /// Takes a part that is not the file. Parts of other names are passed over.
    async fn take(&mut self, part: Field<'static>) -> Result<(), Error> {
        match part.name() {
            Some("filename") => {
                let name = text(part, MAX_FIELD_BYTES).await?;
                check_name(&name).map_err(|problem| Error::invalid(problem.detail()))?;
                if self.filename.replace(name).is_some() {
                    return Err(bad("the form has the field \"filename\" twice"));
                }
            }
            Some("data_shards") => self.data_shards = Some(number("data_shards", &text(part, MAX_FIELD_BYTES).await?)?),
            Some("parity_shards") => {
                self.parity_shards = Some(number("parity_shards", &text(part, MAX_FIELD_BYTES).await?)?)
            }
            _ => drop(text(part, MAX_FIELD_BYTES).await?),
        }
        Ok(())
    }
}

fn number(name: &str, value: &str) -> Result<usize, Error> {
    value.trim().parse().map_err(|_| Error::invalid(format!("{name} is {value:?}; expected a number of shards")))
}

async fn store(
    call: &Call,
    engine: &Engine,
    form: Form,
    file: Field<'static>,
    fields: Fields,
) -> Result<ObjectInfo, Problem> {
    let bucket = call.app.prototype_bucket.as_str();
    let temporary = fields.filename.is_none();
    let key = fields.filename.clone().unwrap_or_else(|| format!("{UPLOADS}{}", call.app.env.new_id()));
    let mut request = PutRequest {
        bucket: bucket.into(),
        key,
        precondition: Precondition::Absent,
        data_shards: fields.data_shards,
        parity_shards: fields.parity_shards,
        run_digests: true,
        ..PutRequest::default()
    };
    if let Some(kind) = file.content_type() {
        request.attributes.insert(CONTENT_TYPE.as_str().into(), kind.to_string());
    }
    // Before the bucket is made, so that a refused first upload leaves nothing.
    rsb_core::names::check_key(&request.key)?;
    ensure_bucket(engine, bucket).await?;
    let all = Arc::new(Mutex::new(fields.clone()));
    let to = temporary.then(|| (engine.clone(), bucket.to_owned()));
    let body = to_the_end(form, file, all.clone(), to);
    let written = engine.put(request.clone(), body).await.map_err(|error| exists(error.into(), &request.key))?;
    let all = all.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let late_shards = all.data_shards != fields.data_shards || all.parity_shards != fields.parity_shards;
    let wanted = PutRequest { data_shards: all.data_shards, parity_shards: all.parity_shards, ..request };
    if temporary {
        // The stream failed, and with it the put, when there was no name at its end.
        let name = all.filename.unwrap_or_default();
        let named = name_it(engine, &written, PutRequest { key: name, ..wanted }, late_shards).await;
        remove_upload(engine, &written).await;
        return named;
    }
    if late_shards {
        let again = PutRequest { precondition: Precondition::VersionIs(written.version()), ..wanted };
        let recoded = write_again(engine, &written, again).await;
        if recoded.is_err() {
            remove_upload(engine, &written).await;
        }
        return recoded;
    }
    Ok(written)
}

/// Gives a temporary object its name.
async fn name_it(engine: &Engine, from: &ObjectInfo, to: PutRequest, late_shards: bool) -> Result<ObjectInfo, Problem> {
    let name = to.key.clone();
    let named = if late_shards {
        write_again(engine, from, to).await
    } else {
        let source = (from.manifest.bucket.as_str(), from.manifest.key.as_str());
        engine.copy(source, (&to.bucket, &to.key), Precondition::Absent).await.map_err(Problem::from)
    };
    named.map_err(|problem| exists(problem, &name))
}

/// Writes an object anew with other shards: they were asked for only behind the file.
async fn write_again(engine: &Engine, from: &ObjectInfo, to: PutRequest) -> Result<ObjectInfo, Problem> {
    let body = engine.read(from, 0..from.size()).await?.stream;
    Ok(engine.put(PutRequest { len: Some(from.size()), run_digests: true, ..to }, body).await?)
}

/// The file's bytes, and then the rest of the form, whose fields go to `fields`. Ends well only if the form does, and, where
/// the name comes behind the file, only if it is free in the bucket it goes `to`.
fn to_the_end(
    form: Form,
    file: Field<'static>,
    fields: Arc<Mutex<Fields>>,
    to: Option<(Engine, String)>,
) -> BodyStream {
    struct Reading {
        form: Form,
        file: Option<Field<'static>>,
        fields: Arc<Mutex<Fields>>,
        to: Option<(Engine, String)>,
    }
    let reading = Reading { form, file: Some(file), fields, to };
    stream::try_unfold(reading, |mut reading| async move {
        if let Some(file) = reading.file.as_mut() {
            if let Some(chunk) = file.chunk().await.map_err(from_multer)? {
                return Ok(Some((chunk, reading)));
            }
            reading.file = None;
            let known = reading.fields.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let all = the_rest(&mut reading.form, known).await?;
            if let (Some((engine, bucket)), Some(name)) = (&reading.to, &all.filename)
                && engine.head(bucket, name, None).await.is_ok()
            {
                return Err(Error::new(ErrorKind::AlreadyExists, taken(name)));
            }
            *reading.fields.lock().unwrap_or_else(PoisonError::into_inner) = all;
        }
        Ok::<Option<(Bytes, Reading)>, Error>(None)
    })
    .boxed()
}

/// Reads the parts behind the file to the form's end.
async fn the_rest(form: &mut Form, mut fields: Fields) -> Result<Fields, Error> {
    while let Some(part) = form.next().await? {
        if part.name() == Some("file") {
            return Err(bad("the form has the part \"file\" twice"));
        }
        fields.take(part).await?;
    }
    if fields.filename.is_none() {
        return Err(bad("the form has no field \"filename\""));
    }
    form.end().await?;
    Ok(fields)
}

/// Makes the bucket at the first upload.
async fn ensure_bucket(engine: &Engine, bucket: &str) -> Result<(), Problem> {
    match engine.bucket(bucket).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return other.map(|_| ()).map_err(Problem::from),
    }
    match engine.create_bucket(bucket, BucketSettings::default()).await {
        // Another upload was first.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => {
            engine.bucket(bucket).await.map(|_| ()).map_err(Problem::from)
        }
        other => other.map(|_| ()).map_err(Problem::from),
    }
}

/// A create-only write that finds something there is a 409 on this protocol.
fn exists(problem: Problem, name: &str) -> Problem {
    if problem.status() != http::StatusCode::PRECONDITION_FAILED {
        return problem;
    }
    Problem::new(http::StatusCode::CONFLICT, ErrorKind::AlreadyExists.as_str(), taken(name))
}

fn taken(name: &str) -> String {
    format!("there is a file {name:?} already, and it was left as it is; choose another name")
}
