//! Memory that is wiped when it is given back.
//!
//! Passwords pass through buffers of libraries: of TLS, of the TOML parser, of the health checks' client. None of them wipes what it
//! frees, and whoever finds memory that was freed finds what was in it. So all memory is wiped as it is freed.
//!
//! Its price is a write of each byte that is freed. While commands pass in clear nothing is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

/// The system's memory, wiped when it is given back.
#[derive(Debug)]
pub struct Wiping;

// SAFETY: all is the system's, asked for and given back with the same layouts. Growing is the trait's own: new memory, a copy,
// and the old memory given back here, so that it is wiped as well.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back `layout.size()` bytes that are nobody else's. The compiler may not leave out what it
        // believes that somebody looks at.
        unsafe {
            pointer.write_bytes(0, layout.size());
            System.dealloc(black_box(pointer), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_empty_when_it_is_given_back_and_keeps_what_it_had_while_it_grows() {
        let layout = Layout::from_size_align(4096, 16).expect("a layout");
        // SAFETY: a layout that is not empty; the pointer is used within its size, and given back once with the last size. That
        // freed memory is looked at is the point: the system keeps a block of this size mapped.
        unsafe {
            let first = Wiping.alloc(layout);
            first.write_bytes(0x5A, layout.size());
            let grown = Wiping.realloc(first, layout, 8192);
            assert!((0..4096).all(|at| grown.add(at).read() == 0x5A));
            let left: Vec<u8> = (64..4032).map(|at| first.add(at).read_volatile()).collect();
            assert!(first == grown || left.iter().all(|byte| *byte != 0x5A), "the old memory still has it");
            Wiping.dealloc(grown, Layout::from_size_align(8192, 16).expect("a layout"));
        }
    }
}
