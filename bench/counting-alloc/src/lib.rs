//! The system's allocator, with a count for each thread that any other thread can read.
//!
//! Counting is off until [`start`]. What it costs then is two additions in the thread's own cache line; before that, one
//! look at a flag.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Threads that are counted one by one; later ones share the last place.
const THREADS_MAX: usize = 256;

/// To be the program's `#[global_allocator]`.
#[derive(Debug)]
pub struct CountingAllocator;

/// What a thread has allocated since [`start`]. Growing counts as an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// The kernel's number of the thread, as in `/proc/self/task`.
    pub thread: i32,
    /// Calls of the allocator.
    pub count: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

/// Counts from here on.
pub fn start() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// Every thread that has allocated since [`start`].
pub fn by_thread() -> impl Iterator<Item = Allocated> {
    let used = NEXT.load(Ordering::Relaxed).min(THREADS_MAX);
    PLACES[..used].iter().map(|place| Allocated {
        thread: place.thread.load(Ordering::Relaxed),
        count: place.count.load(Ordering::Relaxed),
        bytes: place.bytes.load(Ordering::Relaxed),
    })
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static PLACES: [Place; THREADS_MAX] = [const { Place::new() }; THREADS_MAX];

thread_local! {
    /// Index of this thread's place. Without a destructor and without lazy start, so that touching it never allocates.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// One thread's counts, alone in its cache line.
#[repr(align(64))]
struct Place {
    thread: AtomicI32,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Place {
    const fn new() -> Place {
        Place { thread: AtomicI32::new(0), count: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }
}

fn count(bytes: usize) {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    let index = OWN.get().unwrap_or_else(|| {
        let index = NEXT.fetch_add(1, Ordering::Relaxed).min(THREADS_MAX - 1);
        PLACES[index].thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        OWN.set(Some(index));
        index
    });
    PLACES[index].count.fetch_add(1, Ordering::Relaxed);
    PLACES[index].bytes.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator with the arguments it came with, and its result comes back as it is;
// counting in between neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: what the caller promises is what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as in `alloc`; the block came from `System`, since every block does.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    fn own() -> Allocated {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        by_thread().find(|allocated| allocated.thread == thread).unwrap_or_default()
    }

    #[test]
    fn a_thread_is_charged_with_what_it_allocates_and_with_nothing_else() {
        start();
        let first = std::hint::black_box(Vec::<u8>::with_capacity(1000));
        let before = own();
        let second = std::hint::black_box(Vec::<u8>::with_capacity(500));
        let after = own();
        std::thread::spawn(|| drop(std::hint::black_box(vec![0_u8; 10_000]))).join().expect("no panic");
        assert_eq!((after.count - before.count, after.bytes - before.bytes), (1, 500));
        assert!(before.count >= 1 && before.bytes >= 1000);
        drop((first, second));
        assert!(by_thread().count() >= 2, "the other thread has a place of its own");
    }
}
