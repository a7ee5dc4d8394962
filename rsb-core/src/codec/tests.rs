//! Each built-in codec is held to the suite that every codec must pass; what a single codec's bytes are stands in its own
//! tests.

use super::*;
pub(super) use crate::testkit::codec::{random_shards, restore, shape, slices, stripe};

/// `novelpoly` with each kernel this processor can run.
pub(super) fn every_kernel() -> impl Iterator<Item = NovelPoly> {
    Kernel::available().map(|kernel| NovelPoly::with_kernel(kernel).unwrap())
}

/// Both codecs, `novelpoly` with every kernel this processor can run.
fn both() -> Vec<Arc<dyn ErasureCodec>> {
    let novelpoly = every_kernel().map(|codec| Arc::new(codec) as Arc<dyn ErasureCodec>);
    novelpoly.chain([Arc::new(Cauchy::new()) as Arc<dyn ErasureCodec>]).collect()
}

#[test]
fn every_codec_keeps_the_contract() {
    for codec in both() {
        crate::testkit::codec::run(&*codec);
    }
}

#[test]
fn shapes_have_bounds() {
    for (k, m) in [(0, 0), (0, 3), (257, 0), (256, 1), (1, 256), (usize::MAX, 1), (1, usize::MAX), (65_537, 0)] {
        assert_eq!(Shape::new(k, m), Err(CodecError::BadShape { k, m }));
    }
    for (k, m) in [(1, 0), (256, 0), (1, 255), (128, 128), (255, 1)] {
        let shape = Shape::new(k, m).unwrap();
        assert_eq!((shape.k(), shape.m(), shape.n()), (k, m, k + m));
        assert_eq!(shape.to_string(), format!("{k}+{m}"));
    }
}

#[test]
fn errors_are_sentences() {
    let error = CodecError::IndexOutOfRange { index: 5, shape: shape(3, 2) };
    assert_eq!(error.to_string(), "shard 5 does not exist: the shape 3+2 numbers its shards from 0 to 4");
    assert_eq!(CodecError::Unknown(CodecId(9)).to_string(), "codec-9 (codec id 9) is not known to this build");
}

#[test]
fn the_registry_knows_ids_and_names() {
    assert_eq!(CodecId::NOVELPOLY, CodecId(1)); // as they stand in stored manifests
    assert_eq!(CodecId::CAUCHY, CodecId(2));
    let codecs = Codecs::with_builtin();
    for (id, name, symbol_len) in [(CodecId::NOVELPOLY, "novelpoly", 2), (CodecId::CAUCHY, "cauchy", 1)] {
        for found in [codec(id), codec_named(name), codecs.get(id).ok(), codecs.named(name)] {
            let found = found.unwrap();
            assert_eq!((found.id(), found.name(), found.symbol_len()), (id, name, symbol_len));
        }
        assert_eq!(id.to_string(), name);
    }
    assert!(codec(CodecId(0)).is_none());
    assert!(codec_named("Cauchy").is_none());
    assert_eq!(codecs.get(CodecId(7)).unwrap_err(), CodecError::Unknown(CodecId(7)));
    assert_eq!(Codecs::default().get(CodecId::CAUCHY).unwrap_err(), CodecError::Unknown(CodecId::CAUCHY));
}

/// Cauchy's bytes under another id, and with one bit of the parity or of a restored shard flipped.
#[derive(Debug)]
struct Altered {
    id: CodecId,
    flip_parity: u8,
    flip_restored: u8,
}

impl ErasureCodec for Altered {
    fn id(&self) -> CodecId {
        self.id
    }
    fn name(&self) -> &'static str {
        "altered"
    }
    fn symbol_len(&self) -> usize {
        1
    }
    fn kernel(&self) -> &'static str {
        "none"
    }
    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        Cauchy::new().encode(shape, data, parity)?;
        parity.last_mut().and_then(|shard| shard.last_mut()).into_iter().for_each(|byte| *byte ^= self.flip_parity);
        Ok(())
    }
    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        Cauchy::new().restore(shape, present, wanted)?;
        wanted[0].1[0] ^= self.flip_restored;
        Ok(())
    }
    fn update(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        Cauchy::new().update(shape, index, old, new, parity)
    }
}

#[test]
fn the_self_test_passes_for_the_built_in_codecs() {
    for codec in both() {
        self_test(&*codec).unwrap();
    }
}

#[test]
fn the_self_test_finds_one_wrong_bit() {
    let failure = |id, flip_parity, flip_restored| {
        let result = self_test(&Altered { id, flip_parity, flip_restored });
        result.err().map(|error| match error {
            CodecError::SelfTest { codec, shape, what, expected, found } if expected != found => {
                (codec, shape.to_string(), what)
            }
            other => panic!("{other}"),
        })
    };
    let (cauchy, new) = (CodecId::CAUCHY, CodecId(900));
    assert_eq!(failure(cauchy, 0, 0), None);
    assert_eq!(failure(cauchy, 1, 0), Some((cauchy, "1+3".to_owned(), "parity shards")));
    assert_eq!(failure(cauchy, 0, 1), Some((cauchy, "1+0".to_owned(), "restored shards")));
    assert_eq!(failure(CodecId::NOVELPOLY, 0, 0).map(|(_, shape, _)| shape), Some("1+3".to_owned()));
    // Nothing pinned: other parity is another code, if it restores.
    assert_eq!(failure(new, 0, 0), None);
    assert_eq!(failure(new, 1, 0).map(|(_, _, what)| what), Some("restored shards"));
    assert_eq!(failure(new, 0, 1).map(|(_, _, what)| what), Some("restored shards"));
}

#[test]
fn a_codec_can_take_the_place_of_another() {
    let mut codecs = Codecs::with_builtin();
    let altered = |id| Arc::new(Altered { id, flip_parity: 0, flip_restored: 0 });
    assert!(codecs.register(altered(CodecId(900))).is_none());
    assert_eq!(codecs.register(altered(CodecId::CAUCHY)).unwrap().name(), "cauchy");
    assert_eq!(codecs.get(CodecId::CAUCHY).unwrap().name(), "altered");
    assert_eq!(codecs.iter().map(|codec| codec.id().0).collect::<Vec<_>>(), [1, 2, 900]);
}
