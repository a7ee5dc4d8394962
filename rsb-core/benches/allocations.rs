//! A call of `novelpoly` allocates nothing once its matrix is known, and `cauchy` only where its library does.
//!
//! Here and not in rsb-core, because only an allocator can count, which takes `unsafe` code. Run it with
//! `cargo test --manifest-path rsb-core/benches/Cargo.toml`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rsb_core::codec::{Cauchy, ErasureCodec, Kernel, NovelPoly, Shape};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

// SAFETY: everything is the system's allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// Allocations of the second encode, restore and update of a stripe.
fn second_calls(codec: &dyn ErasureCodec, (k, m): (usize, usize), len: usize) -> [usize; 3] {
    let shape = Shape::new(k, m).unwrap();
    let (data, changed) = (vec![vec![7; len]; k], vec![8; len]);
    let (mut parity, mut restored) = (vec![vec![0; len]; m], vec![vec![0; len]; m]);
    let sources: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut buffers: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    codec.encode(shape, &sources, &mut buffers).unwrap();
    let encode = allocations(|| codec.encode(shape, &sources, &mut buffers).unwrap());
    codec.update(shape, 1, &data[1], &changed, &mut buffers).unwrap();
    let update = allocations(|| codec.update(shape, 1, &changed, &data[1], &mut buffers).unwrap());
    let shards = data.iter().chain(&parity).map(Vec::as_slice);
    let present: Vec<(usize, &[u8])> = shards.enumerate().skip(m).collect();
    let mut wanted: Vec<(usize, &mut [u8])> = restored.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
    codec.restore(shape, &present, &mut wanted).unwrap();
    let restore = allocations(|| codec.restore(shape, &present, &mut wanted).unwrap());
    [encode, restore, update]
}

#[test]
fn calls_allocate_nothing() {
    for shape in [(4, 2), (10, 3), (64, 16)] {
        for kernel in Kernel::available() {
            assert_eq!(second_calls(&NovelPoly::with_kernel(kernel).unwrap(), shape, 4096), [0; 3], "{kernel}");
        }
        assert_eq!(second_calls(&Cauchy::new(), shape, 4096), [0, 1, 0]); // its list of survivors
    }
}
