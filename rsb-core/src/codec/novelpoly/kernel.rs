//! Applies a matrix over GF(2^16) to shards, with the best instructions the processor has.
//!
//! Multiplication by a constant is linear over GF(2): a 16 x 16 matrix of bits, or tables of what parts of a symbol add to
//! the product. [`Rows`] has these for each coefficient, in the form its kernel wants; `portable`, `x86` and `aarch64` are
//! the kernels, `vector` the walk through a stripe that all vector kernels share. They are the one place of this crate
//! with `unsafe` code: instructions a processor may not have cannot be called otherwise.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use reed_solomon_novelpoly::f2e16::{Additive, FIELD_BITS};

use super::SYMBOL;

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "vector instructions; each block says why it is sound")]
mod aarch64;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[allow(unsafe_code, reason = "raw pointers for vector loads and stores; each block says why it is sound")]
mod vector;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions; each block says why it is sound")]
mod x86;

/// Names the kernel to use instead of the best one, for tests and comparisons.
pub const KERNEL_VARIABLE: &str = "RSB_CODEC_KERNEL";

/// Outputs whose tables stand together, as they are computed together.
const GROUP: usize = 4;

/// A way to do the arithmetic of `novelpoly`. All make the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// 64 symbols at a time by 8 x 8 matrices of bits: GFNI with AVX-512 (F, BW).
    Gfni512,
    /// 32 symbols at a time by 8 x 8 matrices of bits: GFNI with AVX2.
    Gfni256,
    /// 32 symbols at a time by tables of 16 in registers: AVX2.
    Avx2,
    /// 16 symbols at a time by tables of 16 in registers: SSSE3.
    Ssse3,
    /// 16 symbols at a time by tables of 16 in registers: 64-bit ARM.
    Neon,
    /// One symbol at a time by tables in memory: any processor.
    Portable,
}

/// The kernel that is used unless a caller chooses: found once, as neither the processor nor the environment changes.
static CHOSEN: LazyLock<Kernel> = LazyLock::new(|| {
    let best = Kernel::available().next().unwrap_or(Kernel::Portable);
    let Ok(name) = std::env::var(KERNEL_VARIABLE) else { return best };
    Kernel::available().find(|kernel| kernel.name() == name).unwrap_or_else(|| {
        tracing::warn!(%name, instead = best.name(), "{KERNEL_VARIABLE} names no kernel of this processor");
        best
    })
});

impl Kernel {
    /// All kernels, the best first.
    pub const ALL: [Kernel; 6] =
        [Kernel::Gfni512, Kernel::Gfni256, Kernel::Avx2, Kernel::Ssse3, Kernel::Neon, Kernel::Portable];

    /// Short lower-case name, as [`KERNEL_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Gfni512 => "gfni-avx512",
            Kernel::Gfni256 => "gfni-avx2",
            Kernel::Avx2 => "avx2",
            Kernel::Ssse3 => "ssse3",
            Kernel::Neon => "neon",
            Kernel::Portable => "portable",
        }
    }

    /// The kernels this processor can run, the best first; the portable one is always among them.
    pub fn available() -> impl Iterator<Item = Kernel> {
        Kernel::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The kernel a codec uses that was not told which: the one [`KERNEL_VARIABLE`] names, or the best.
    pub fn chosen() -> Kernel {
        *CHOSEN
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Kernel::Gfni512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("gfni")
            }
            Kernel::Gfni256 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni"),
            Kernel::Avx2 => is_x86_feature_detected!("avx2"),
            Kernel::Ssse3 => is_x86_feature_detected!("ssse3"),
            Kernel::Neon => false,
            Kernel::Portable => true,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn is_available(self) -> bool {
        match self {
            Kernel::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => self == Kernel::Portable,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_available(self) -> bool {
        self == Kernel::Portable
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A matrix over GF(2^16), prepared for a kernel.
pub(super) struct Rows {
    sources: usize,
    outputs: usize,
    kernel: Kernel,
    tables: Tables,
}

/// Of every coefficient: for each group of outputs (see [`groups`]), for each source, for each output of the group.
enum Tables {
    Affine(Vec<Affine>),
    Nibbles(Vec<Nibbles>),
    Portable(Vec<portable::Table>),
}

/// A coefficient as four 8 x 8 matrices of bits, in the form of the instruction `gf2p8affineqb`: byte 7 - i of a matrix
/// chooses the bits of the operand whose sum is bit i of the result.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 has the instruction"))]
struct Affine {
    high_of_high: u64,
    high_of_low: u64,
    low_of_high: u64,
    low_of_low: u64,
}

/// A coefficient as tables of its products with the four nibbles of a symbol, the highest first: of each the products'
/// high bytes and low bytes.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "only vector kernels look nibbles up")
)]
struct Nibbles([[[u8; 16]; 2]; 4]);

impl Rows {
    /// Prepares a matrix of `sources` columns, given row by row. The processor must have what `kernel` wants.
    pub(super) fn new(kernel: Kernel, sources: usize, coefficients: &[Additive]) -> Rows {
        assert!(kernel.is_available(), "this processor cannot run the kernel {kernel}");
        let tables = match kernel {
            Kernel::Gfni512 | Kernel::Gfni256 => Tables::Affine(in_groups(sources, coefficients, Affine::new)),
            Kernel::Avx2 | Kernel::Ssse3 | Kernel::Neon => {
                Tables::Nibbles(in_groups(sources, coefficients, Nibbles::new))
            }
            Kernel::Portable => Tables::Portable(portable::tables(sources, coefficients)),
        };
        Rows { sources, outputs: coefficients.len() / sources.max(1), kernel, tables }
    }

    /// Bytes of memory the tables take.
    pub(super) fn bytes(&self) -> usize {
        match &self.tables {
            Tables::Affine(tables) => size_of_val(&tables[..]),
            Tables::Nibbles(tables) => size_of_val(&tables[..]),
            Tables::Portable(tables) => size_of_val(&tables[..]),
        }
    }

    /// Overwrites output r with the sum over all sources j of row r's constant j times source j, or with `add` adds that
    /// sum to it; for as many whole symbols as the shortest of the shards has. As many sources and outputs as this was
    /// made for.
    pub(super) fn apply(&self, sources: &[&[u8]], outputs: &mut [&mut [u8]], add: bool) {
        assert_eq!((self.sources, self.outputs), (sources.len(), outputs.len()));
        let lens = sources.iter().map(|shard| shard.len()).chain(outputs.iter().map(|shard| shard.len()));
        let len = lens.min().unwrap_or(0) / SYMBOL * SYMBOL;
        match (&self.tables, self.kernel) {
            (Tables::Portable(tables), _) => portable::apply(tables, sources, outputs, len, add),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (tables, kernel) => apply_vector(kernel, tables, sources, outputs, len, add),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            (_, _) => {} // no kernel but the portable one is available, so none was prepared for
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the one door to the vector kernels")]
fn apply_vector(kernel: Kernel, tables: &Tables, sources: &[&[u8]], outputs: &mut [&mut [u8]], len: usize, add: bool) {
    // SAFETY: `Rows::new` saw that the processor has the kernel's instructions.
    unsafe {
        match (kernel, tables) {
            (Kernel::Gfni512, Tables::Affine(tables)) => {
                vector::apply::<x86::Gfni512>(tables, sources, outputs, len, add)
            }
            (_, Tables::Affine(tables)) => vector::apply::<x86::Gfni256>(tables, sources, outputs, len, add),
            (Kernel::Avx2, Tables::Nibbles(tables)) => vector::apply::<x86::Avx2>(tables, sources, outputs, len, add),
            (_, Tables::Nibbles(tables)) => vector::apply::<x86::Ssse3>(tables, sources, outputs, len, add),
            (_, Tables::Portable(tables)) => portable::apply(tables, sources, outputs, len, add),
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "the one door to the vector kernels")]
fn apply_vector(_: Kernel, tables: &Tables, sources: &[&[u8]], outputs: &mut [&mut [u8]], len: usize, add: bool) {
    match tables {
        // SAFETY: `Rows::new` saw that the processor has the kernel's instructions.
        Tables::Nibbles(tables) => unsafe { vector::apply::<aarch64::Neon>(tables, sources, outputs, len, add) },
        Tables::Portable(tables) => portable::apply(tables, sources, outputs, len, add),
        Tables::Affine(_) => {} // no kernel that wants them is available, so there are none
    }
}

/// Cuts `outputs` into as few groups of at most [`GROUP`] as there can be, their sizes as equal as they can be: three and
/// two are faster than four and one.
fn groups(outputs: usize) -> impl Iterator<Item = Range<usize>> {
    let count = outputs.div_ceil(GROUP);
    (0..count).map(move |group| group * outputs / count..(group + 1) * outputs / count)
}

fn in_groups<T>(sources: usize, coefficients: &[Additive], table: fn(&[u16; FIELD_BITS]) -> T) -> Vec<T> {
    let mut tables = Vec::with_capacity(coefficients.len());
    for group in groups(coefficients.len() / sources.max(1)) {
        for source in 0..sources {
            let column = group.clone().map(|row| coefficients[row * sources + source]);
            tables.extend(column.map(|coefficient| table(&products(coefficient))));
        }
    }
    tables
}

/// Products of a constant with each single bit.
fn products(constant: Additive) -> [u16; FIELD_BITS] {
    let mut products = [0; FIELD_BITS];
    if constant == Additive(0) {
        return products; // zero has no logarithm
    }
    let multiplier = constant.to_multiplier();
    for (bit, product) in products.iter_mut().enumerate() {
        *product = Additive(1 << bit).mul(multiplier).0;
    }
    products
}

impl Affine {
    fn new(products: &[u16; FIELD_BITS]) -> Affine {
        // The 8 x 8 matrix from the operand's bits `from..from + 8` to the product's bits `to..to + 8`.
        let part = |to: usize, from: usize| {
            let mut matrix = [0; 8];
            for (column, product) in products[from..from + 8].iter().enumerate() {
                for (row, byte) in matrix.iter_mut().rev().enumerate() {
                    *byte |= ((product >> (to + row) & 1) as u8) << column;
                }
            }
            u64::from_le_bytes(matrix)
        };
        Affine { high_of_high: part(8, 8), high_of_low: part(8, 0), low_of_high: part(0, 8), low_of_low: part(0, 0) }
    }
}

impl Nibbles {
    fn new(products: &[u16; FIELD_BITS]) -> Nibbles {
        let mut tables = [[[0; 16]; 2]; 4];
        for (nibble, [high, low]) in tables.iter_mut().rev().enumerate() {
            for value in 0..16 {
                let bits = (0..4).filter(|bit| value >> bit & 1 == 1);
                let product = bits.fold(0, |sum, bit| sum ^ products[4 * nibble + bit]);
                [high[value], low[value]] = product.to_be_bytes();
            }
        }
        Nibbles(tables)
    }
}
