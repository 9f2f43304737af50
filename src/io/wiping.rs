//! Memory that is wiped when it is given back.
//!
//! Passwords pass through buffers of libraries: of TLS, of the TOML parser, of the health checks' client. None of them wipes what it
//! frees, and whoever finds memory that was freed finds what was in it. So all memory is wiped as it is freed.
//!
//! Its price is a write of each byte that is freed. While commands pass in clear nothing is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

/// The memory of another allocator, the system's, wiped when it is given back.
#[derive(Debug)]
pub struct Wiping<Source = System>(Source);

impl Wiping {
    /// Over the system's.
    pub const fn new() -> Wiping {
        Wiping(System)
    }
}

impl Default for Wiping {
    fn default() -> Wiping {
        Wiping::new()
    }
}

// SAFETY: all is the other allocator's, asked for and given back with the same layouts. Growing is the trait's own: new memory,
// a copy, and the old memory given back here, so that it is wiped as well.
unsafe impl<Source: GlobalAlloc> GlobalAlloc for Wiping<Source> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the other allocator asks for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back `layout.size()` bytes that are nobody else's. The compiler may not leave out what it
        // believes that somebody looks at.
        unsafe {
            pointer.write_bytes(0, layout.size());
            self.0.dealloc(black_box(pointer), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the bytes that are not empty in what it is given back.
    struct Inspector(AtomicUsize);

    // SAFETY: all is the system's; what is given back is looked at while it is still there.
    unsafe impl GlobalAlloc for Inspector {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promises are those that the system asks for.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the memory is the caller's until the system has it, and all of it was written to.
            unsafe {
                let left = std::slice::from_raw_parts(pointer, layout.size()).iter().filter(|byte| **byte != 0).count();
                self.0.fetch_add(left, Ordering::Relaxed);
                System.dealloc(pointer, layout);
            }
        }
    }

    #[test]
    fn memory_is_empty_when_it_is_given_back_and_keeps_what_it_had_while_it_grows() {
        let wiping = Wiping(Inspector(AtomicUsize::new(0)));
        let layout = Layout::from_size_align(4096, 16).expect("a layout");
        // SAFETY: a layout that is not empty; each pointer is used within its size, and given back once with that size.
        unsafe {
            let first = wiping.alloc(layout);
            first.write_bytes(0x5A, layout.size());
            let grown = wiping.realloc(first, layout, 8192);
            assert!((0..4096).all(|at| grown.add(at).read() == 0x5A));
            grown.write_bytes(0x5B, 8192);
            wiping.dealloc(grown, Layout::from_size_align(8192, 16).expect("a layout"));
        }
        assert_eq!(wiping.0.0.load(Ordering::Relaxed), 0, "bytes that were left");
    }
}
