//! The asynchronous readers and writers of `parquet` and `arrow`, on the store itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use datafusion::arrow;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};
use datafusion::parquet::arrow::async_writer::ParquetObjectWriter;
use datafusion::parquet::arrow::{AsyncArrowWriter, ProjectionMask};
use datafusion::parquet::file::properties::WriterProperties;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_core_engines::{assert_frugal, sides};

/// Rows that compress badly, so that columns have bytes.
pub fn batch(rows: i64, from: i64) -> RecordBatch {
    let ids: Int64Array = (from..from + rows).collect();
    let mixed = |i: i64| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
    let prices: Float64Array = (from..from + rows).map(|i| mixed(i) as f64 / 1e6).collect();
    let days: Int64Array = (from..from + rows).map(|i| i / 10_000).collect();
    let names: StringArray =
        (from..from + rows).map(|i| Some(format!("name-{:x}-{:x}", mixed(i), mixed(i + 7)))).collect();
    let columns: [(&str, ArrayRef); 4] =
        [("id", Arc::new(ids)), ("price", Arc::new(prices)), ("day", Arc::new(days)), ("name", Arc::new(names))];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn write(store: Arc<dyn ObjectStore>, path: &Path) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(50_000)).build();
    let first = batch(50_000, 0);
    let writer = ParquetObjectWriter::new(store, path.clone());
    let mut writer = AsyncArrowWriter::try_new(writer, first.schema(), Some(properties)).unwrap();
    for i in 0..4 {
        writer.write(&batch(50_000, i * 50_000)).await.unwrap();
    }
    writer.close().await.unwrap();
}

/// Some columns of some row groups, and within them some rows.
async fn read(store: Arc<dyn ObjectStore>, path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetObjectReader::new(store, path.clone()).with_preload_offset_index(true);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.unwrap();
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["id", "price"]);
    let rows = RowSelection::from(vec![RowSelector::skip(20_000), RowSelector::select(60_000)]);
    let stream = builder.with_projection(columns).with_row_groups(vec![1, 3]).with_row_selection(rows).build().unwrap();
    stream.try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_written_and_read_in_parts() {
    let path = Path::from("columns.parquet");
    let mut seen = Vec::new();
    for side in sides().await {
        write(side.store.clone(), &path).await;
        side.read();
        let rows = read(side.store.clone(), &path).await;
        let (bytes, size) = (side.read(), side.store.head(&path).await.unwrap().size);
        assert!(bytes < size / 2, "{bytes} of {size} bytes were read");
        seen.push((rows, bytes, size, side));
    }
    let [(plain, plain_bytes, plain_size, _), (erasure, bytes, size, side)] = seen.try_into().ok().unwrap();
    assert_eq!((&plain, plain_size), (&erasure, size));
    assert_eq!(plain.iter().map(RecordBatch::num_rows).sum::<usize>(), 60_000);
    assert_frugal("parquet: 2 of 4 columns, 60,000 of 200,000 rows", plain_bytes, bytes);
    side.lose();
    assert_eq!(read(side.store.clone(), &path).await, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_streams_are_decoded_as_they_arrive() {
    let path = Path::from("stream.arrows");
    let batches: Vec<RecordBatch> = (0..5).map(|i| batch(20_000, i * 20_000)).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    let file = writer.into_inner().unwrap();
    let mut read = Vec::new();
    for side in sides().await {
        side.store.put(&path, file.clone().into()).await.unwrap();
        side.read();
        let mut decoder = StreamDecoder::new();
        let mut rows = Vec::new();
        let mut chunks = side.store.get(&path).await.unwrap().into_stream();
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            let mut buffer = Buffer::from(chunk);
            while let Some(batch) = decoder.decode(&mut buffer).unwrap() {
                rows.push(batch);
            }
        }
        decoder.finish().unwrap();
        assert_eq!(rows, batches);
        read.push(side.read());
    }
    assert_frugal("arrow: a whole stream", read[0], read[1]);
}
