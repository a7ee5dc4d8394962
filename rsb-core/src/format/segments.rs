//! What a manifest says of the segments that an object is cut in.

use minicbor::{Decode, Encode};

use crate::id::DataId;
use crate::scheme::Scheme;

/// An object cut in segments.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct SegmentedBody {
    /// Backend names that the placements point at.
    #[n(0)]
    pub backends: Vec<String>,
    /// Schemes that the segments point at.
    #[n(1)]
    pub schemes: Vec<SegmentScheme>,
    /// Placements that the segments point at: for each shard index, a position in `backends`.
    #[n(2)]
    pub placements: Vec<Vec<u16>>,
    /// The segments in order.
    #[n(3)]
    pub segments: Vec<Segment>,
}

/// How a segment is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SegmentScheme {
    /// k, m, codec, block size.
    #[n(0)]
    pub scheme: Scheme,
    /// Bytes of a symbol of the codec.
    #[n(1)]
    pub symbol_len: u32,
}

/// One segment: 25 bytes or so in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Segment {
    /// Names its shards.
    #[n(0)]
    pub data_id: DataId,
    /// Its length in bytes.
    #[n(1)]
    pub len: u64,
    /// Position in [`SegmentedBody::schemes`].
    #[n(2)]
    pub scheme: u16,
    /// Position in [`SegmentedBody::placements`].
    #[n(3)]
    pub placement: u16,
}

/// A segment with its scheme and placement looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentView<'a> {
    /// Names its shards.
    pub data_id: DataId,
    /// Where it begins in the object.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// How it is coded.
    pub scheme: SegmentScheme,
    /// For each shard index, the backend's name.
    pub backends: Vec<&'a str>,
}

impl SegmentedBody {
    /// The segments with schemes and placements looked up. Positions were checked when the record was decoded.
    pub fn views(&self) -> impl Iterator<Item = SegmentView<'_>> + '_ {
        let mut start = 0;
        self.segments.iter().filter_map(move |segment| {
            let placement = self.placements.get(usize::from(segment.placement))?;
            let view = SegmentView {
                data_id: segment.data_id,
                start,
                len: segment.len,
                scheme: *self.schemes.get(usize::from(segment.scheme))?,
                backends: placement
                    .iter()
                    .map(|at| self.backends.get(usize::from(*at)).map_or("", String::as_str))
                    .collect(),
            };
            start += segment.len;
            Some(view)
        })
    }

    /// Adds a segment, naming its scheme and backends once.
    pub fn push(&mut self, data_id: DataId, len: u64, scheme: SegmentScheme, backends: &[&str]) {
        let placement: Vec<u16> =
            backends.iter().map(|name| position(&mut self.backends, &(*name).to_owned())).collect();
        let scheme = position(&mut self.schemes, &scheme);
        let placement = position(&mut self.placements, &placement);
        self.segments.push(Segment { data_id, len, scheme, placement });
    }
}

/// The position of `item` in `list`, which it is added to when new.
fn position<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) -> u16 {
    let at = list.iter().position(|other| other == item).unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    });
    at as u16
}
