//! The memory that sockets are read into, and the counted pieces of it that travel through a session.
//!
//! A `Pool` belongs to one worker and has two groups of equal buffers: small ones for commands and short replies, large
//! ones for streams. On io_uring a group is a ring shared with the kernel, which picks a buffer at the moment bytes
//! arrive; on epoll the same memory has a plain free list. Either way a filled buffer leaves the pool as a [`Span`], and
//! returns when the last span of it is gone. An idle socket therefore owns no memory at all.
//!
//! Nothing waits here: a pool without free buffers says so, and the engine keeps the socket in its starved list.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The largest size of one buffer, so that a place inside it fits 16 bits.
pub const BUFFER_SIZE_MAX: usize = 32 * 1024;

/// The largest number of buffers in a group: the kernel's own bound for a ring of provided buffers.
pub const BUFFER_COUNT_MAX: usize = 32 * 1024;

/// Where a socket's next bytes go: how many buffers a group has, and how large each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Number of buffers; a power of two up to [`BUFFER_COUNT_MAX`].
    pub buffers: usize,
    /// Bytes of each buffer, up to [`BUFFER_SIZE_MAX`].
    pub size: usize,
}

/// One of the two groups of a pool. The number is the kernel's group id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Small = 0,
    Large = 1,
}

impl Group {
    pub(super) const ALL: [Group; 2] = [Group::Small, Group::Large];
}

/// Bytes that arrived on a socket, still where the kernel put them.
///
/// Cheap to move (16 bytes) and to split; never copied. The buffer returns to its pool when its last span is dropped, so
/// a span that is kept is memory that nobody can receive into: a slow peer's bytes are to be copied out.
pub struct Span {
    pool: Rc<Pool>,
    buffer: BufferId,
    /// Where the bytes begin in the buffer. Invariant: `start + length <= size of the buffer`.
    start: u16,
    length: u16,
}

impl Span {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether everything was split off or cut away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is out of the pool for as long as a span of it exists, so nothing writes to it, neither
        // the kernel nor a socket call; the range lies inside the buffer by the invariant, and the memory was zeroed at
        // the start. The pool cannot go away before `self`, which holds a share of it.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Splits off the first `length` bytes; `self` keeps the rest. Both belong to the same buffer.
    ///
    /// # Panics
    /// When the span is shorter than `length`.
    #[must_use]
    pub fn split_to(&mut self, length: usize) -> Span {
        assert!(length <= self.len(), "{length} bytes of a span of {}", self.len());
        let length = length as u16;
        self.pool.share(self.buffer);
        let first = Span { pool: Rc::clone(&self.pool), buffer: self.buffer, start: self.start, length };
        self.start += length;
        self.length -= length;
        first
    }

    /// Drops the first `length` bytes.
    ///
    /// # Panics
    /// When the span is shorter than `length`.
    pub fn advance(&mut self, length: usize) {
        assert!(length <= self.len(), "{length} bytes of a span of {}", self.len());
        self.start += length as u16;
        self.length -= length as u16;
    }

    /// Puts `bytes` in the place of those from `at` on.
    ///
    /// # Panics
    /// When they reach beyond the span.
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len() && bytes.len() <= self.len() - at, "{} bytes at {at} of {}", bytes.len(), self.len());
        let place = self.as_ptr().wrapping_add(at).cast_mut();
        // SAFETY: the range lies inside this span by the assertion, and so inside its buffer. No other span has these
        // bytes: spans of one buffer come from `split_to`, which gives each byte to one of the two. Nobody reads them
        // through this one, which is borrowed mutably; and the kernel writes to no buffer that is out of the pool.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.pool.address(self.buffer).wrapping_add(usize::from(self.start))
    }

    /// The whole buffer, to be written into. Only meaningful for the span that `Pool::take` gave: it is the only one.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        debug_assert_eq!(self.pool.shares(self.buffer), 1);
        self.pool.address(self.buffer).wrapping_add(usize::from(self.start))
    }

    /// Has the whole buffer written to, and keeps what was. Only for the span that `Pool::take` gave.
    pub(super) fn fill(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        assert_eq!(self.pool.shares(self.buffer), 1, "a buffer that is written to has one span");
        // SAFETY: the range lies inside the buffer by the invariant, and its memory was zeroed at the start. The buffer is
        // out of the pool, nobody else has a span of it by the assertion, and this one is borrowed mutably meanwhile.
        let room = unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) };
        let written = write(room);
        self.truncate(written);
    }

    /// Keeps the first `length` bytes: what a receive has filled.
    pub(super) fn truncate(&mut self, length: usize) {
        assert!(length <= self.len());
        self.length = length as u16;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.pool.unshare(self.buffer);
    }
}

impl fmt::Debug for Span {
    /// The place and the length only: the bytes may be a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Span({:?} buffer {}, {} bytes)", self.buffer.group(), self.buffer.index(), self.length)
    }
}

/// Names a buffer of either group. The same number is the kernel's buffer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BufferId(u16);

impl BufferId {
    const LARGE: u16 = 0x8000;

    fn new(group: Group, index: usize) -> BufferId {
        let index = index as u16;
        match group {
            Group::Small => BufferId(index),
            Group::Large => BufferId(index | Self::LARGE),
        }
    }

    fn group(self) -> Group {
        if self.0 & Self::LARGE == 0 { Group::Small } else { Group::Large }
    }

    fn index(self) -> usize {
        usize::from(self.0 & !Self::LARGE)
    }
}

/// All receive buffers of one worker.
pub(super) struct Pool {
    groups: [Buffers; 2],
}

/// One group: its memory, who holds what, and what is free.
struct Buffers {
    memory: Memory,
    size: usize,
    /// Spans alive per buffer. Zero: the buffer is free, and listed as such in `free`.
    shares: Box<[Cell<u32>]>,
    free: Free,
    /// Buffers free as far as this thread knows. The kernel may already have filled some of them.
    available: Cell<usize>,
}

/// Where the free buffers of a group are listed.
enum Free {
    /// In the ring the kernel takes from.
    Kernel(BufferRing),
    /// In a stack: the buffer that was used last is the one still in the cache.
    Stack(RefCell<Vec<BufferId>>),
}

impl Pool {
    /// A pool for an engine that fills buffers itself.
    pub(super) fn new(small: GroupLimits, large: GroupLimits) -> Rc<Pool> {
        let stack = |limits: GroupLimits| Free::Stack(RefCell::new(Vec::with_capacity(limits.buffers)));
        Pool::fill(Buffers::new(small, stack(small)), Buffers::new(large, stack(large)))
    }

    /// A pool whose free buffers are known to the kernel: both groups are registered with `ring`.
    ///
    /// The memory lives until the last span is gone, the registration until `unregister`.
    pub(super) fn registered(small: GroupLimits, large: GroupLimits, ring: &IoUring) -> io::Result<Rc<Pool>> {
        let small_ring = BufferRing::register(ring, Group::Small, small.buffers)?;
        let large_ring = BufferRing::register(ring, Group::Large, large.buffers)?;
        Ok(Pool::fill(Buffers::new(small, Free::Kernel(small_ring)), Buffers::new(large, Free::Kernel(large_ring))))
    }

    fn fill(small: Buffers, large: Buffers) -> Rc<Pool> {
        let pool = Rc::new(Pool { groups: [small, large] });
        for group in Group::ALL {
            for index in 0..pool.group(group).shares.len() {
                pool.put_back(BufferId::new(group, index));
            }
        }
        pool
    }

    /// Takes the buffer groups away from the kernel. Called when no operation is in flight any more.
    pub(super) fn unregister(&self, ring: &IoUring) -> io::Result<()> {
        for group in Group::ALL {
            ring.submitter().unregister_buf_ring(group as u16)?;
        }
        Ok(())
    }

    /// A free buffer as a span of its whole size, to be written into and truncated. None: all are in use.
    pub(super) fn take(self: &Rc<Self>, group: Group) -> Option<Span> {
        let Free::Stack(free) = &self.group(group).free else {
            unreachable!("the kernel takes from a registered pool");
        };
        let buffer = free.borrow_mut().pop()?;
        Some(self.hand_out(buffer, self.size(group)))
    }

    /// The span for a buffer that the kernel has filled with `length` bytes.
    ///
    /// # Panics
    /// When the kernel hands out a buffer that it was not given: going on would mix two sessions' bytes.
    pub(super) fn filled(self: &Rc<Self>, kernel_id: u16, length: usize) -> Span {
        let buffer = BufferId(kernel_id);
        assert!(length <= self.size(buffer.group()));
        self.hand_out(buffer, length)
    }

    fn hand_out(self: &Rc<Self>, buffer: BufferId, length: usize) -> Span {
        let group = self.group(buffer.group());
        let shares = &group.shares[buffer.index()];
        assert_eq!(shares.get(), 0, "a buffer was handed out twice");
        shares.set(1);
        group.available.set(group.available.get() - 1);
        Span { pool: Rc::clone(self), buffer, start: 0, length: length as u16 }
    }

    /// Bytes of each buffer of a group.
    pub(super) fn size(&self, group: Group) -> usize {
        self.group(group).size
    }

    /// Buffers of a group that are free.
    pub(super) fn available(&self, group: Group) -> usize {
        self.group(group).available.get()
    }

    fn group(&self, group: Group) -> &Buffers {
        &self.groups[group as usize]
    }

    fn address(&self, buffer: BufferId) -> *mut u8 {
        let group = self.group(buffer.group());
        group.memory.pointer.as_ptr().wrapping_add(buffer.index() * group.size)
    }

    fn shares(&self, buffer: BufferId) -> u32 {
        self.group(buffer.group()).shares[buffer.index()].get()
    }

    fn share(&self, buffer: BufferId) {
        let shares = &self.group(buffer.group()).shares[buffer.index()];
        shares.set(shares.get() + 1);
    }

    fn unshare(&self, buffer: BufferId) {
        let shares = &self.group(buffer.group()).shares[buffer.index()];
        shares.set(shares.get() - 1);
        if shares.get() == 0 {
            self.put_back(buffer);
        }
    }

    fn put_back(&self, buffer: BufferId) {
        let group = self.group(buffer.group());
        match &group.free {
            Free::Kernel(ring) => ring.add(buffer, self.address(buffer), group.size),
            Free::Stack(free) => free.borrow_mut().push(buffer),
        }
        group.available.set(group.available.get() + 1);
        debug_assert!(group.available.get() <= group.shares.len());
    }
}

impl Buffers {
    fn new(limits: GroupLimits, free: Free) -> Buffers {
        Buffers {
            memory: Memory::new(limits.buffers * limits.size),
            size: limits.size,
            shares: vec![Cell::new(0); limits.buffers].into_boxed_slice(),
            free,
            available: Cell::new(0),
        }
    }
}

/// The ring through which the kernel learns of a group's free buffers. Only this side moves the tail.
struct BufferRing {
    entries: Memory,
    tail: Cell<u16>,
    mask: u16,
}

impl BufferRing {
    fn register(ring: &IoUring, group: Group, count: usize) -> io::Result<BufferRing> {
        let entries = Memory::new(count * size_of::<BufRingEntry>());
        let address = entries.pointer.as_ptr() as u64;
        // SAFETY: the memory is page-aligned, zeroed and holds `count` entries. It is owned by the pool, which the
        // engine keeps until the registration has ended (`Pool::unregister`, or the end of the ring itself).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(address, count as u16, group as u16, 0)?;
        }
        Ok(BufferRing { entries, tail: Cell::new(0), mask: (count - 1) as u16 })
    }

    /// Gives a buffer to the kernel. There is always room: the ring has as many entries as the group has buffers.
    fn add(&self, buffer: BufferId, address: *mut u8, size: usize) {
        let first = self.entries.pointer.as_ptr().cast::<BufRingEntry>();
        let tail = self.tail.get();
        // SAFETY: the index is masked to the number of entries. The kernel reads an entry only after the tail below
        // says so, and never writes one; the tail's own field is not among the fields set here.
        unsafe {
            let entry = &mut *first.add(usize::from(tail & self.mask));
            entry.set_addr(address as u64);
            entry.set_len(size as u32);
            entry.set_bid(buffer.0);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, aligned for 16 bits, and lives as long as `entries`. Release: the
        // kernel must see the entry, and our last reads of the buffer must be over, before it sees the tail.
        unsafe {
            let published = BufRingEntry::tail(first).cast::<AtomicU16>();
            (*published).store(self.tail.get(), Ordering::Release);
        }
    }
}

/// Page-aligned zeroed memory, as the kernel wants it for shared rings.
struct Memory {
    pointer: NonNull<u8>,
    layout: Layout,
}

const PAGE: usize = 4096;

impl Memory {
    fn new(length: usize) -> Memory {
        assert!(length > 0, "a group has at least one buffer");
        let layout = Layout::from_size_align(length, PAGE).expect("limits keep the size small");
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        let Some(pointer) = NonNull::new(pointer) else {
            handle_alloc_error(layout);
        };
        Memory { pointer, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the owner drops it once, after all uses.
        unsafe { dealloc(self.pointer.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: GroupLimits = GroupLimits { buffers: 2, size: 64 };

    fn write(span: &mut Span, bytes: &[u8]) {
        // SAFETY: the span is the only one of its buffer, which is larger than the bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), span.as_mut_ptr(), bytes.len()) };
        span.truncate(bytes.len());
    }

    #[test]
    fn a_span_is_sixteen_bytes_and_so_is_the_choice_of_having_one() {
        assert_eq!(size_of::<Span>(), 16);
        assert_eq!(size_of::<Option<Span>>(), 16);
    }

    #[test]
    fn a_buffer_returns_when_its_last_piece_is_dropped() {
        let pool = Pool::new(TINY, TINY);
        let mut rest = pool.take(Group::Small).expect("a free buffer");
        write(&mut rest, b"selectinsertupdate");
        let first = rest.split_to(6);
        let second = rest.split_to(6);
        assert_eq!(first.bytes(), b"select");
        assert_eq!(second.bytes(), b"insert");
        assert_eq!(rest.bytes(), b"update");
        drop(second);
        drop(rest);
        assert_eq!(pool.available(Group::Small), 1);
        drop(first);
        assert_eq!(pool.available(Group::Small), 2);
    }

    #[test]
    fn a_buffer_is_written_to_as_a_whole_and_cut_to_what_was() {
        let pool = Pool::new(TINY, TINY);
        let mut span = pool.take(Group::Small).expect("a free buffer");
        span.fill(|room| {
            assert_eq!(room.len(), TINY.size);
            room[..6].copy_from_slice(b"select");
            6
        });
        assert_eq!(span.bytes(), b"select");
    }

    #[test]
    #[should_panic(expected = "has one span")]
    fn a_buffer_that_is_read_elsewhere_is_not_written_to() {
        let pool = Pool::new(TINY, TINY);
        let mut span = pool.take(Group::Small).expect("a free buffer");
        let _other = span.split_to(8);
        span.fill(|_| 0);
    }

    #[test]
    fn what_is_written_over_one_piece_leaves_the_others_alone() {
        let pool = Pool::new(TINY, TINY);
        let mut rest = pool.take(Group::Small).expect("a free buffer");
        write(&mut rest, b"selectinsertupdate");
        let first = rest.split_to(6);
        let mut second = rest.split_to(6);
        second.overwrite(0, b"IN");
        second.overwrite(4, b"RT");
        second.overwrite(6, b"");
        assert_eq!((first.bytes(), second.bytes(), rest.bytes()), (&b"select"[..], &b"INseRT"[..], &b"update"[..]));
    }

    #[test]
    #[should_panic(expected = "3 bytes at 4 of 6")]
    fn nothing_is_written_beyond_a_piece() {
        let pool = Pool::new(TINY, TINY);
        let mut rest = pool.take(Group::Small).expect("a free buffer");
        write(&mut rest, b"selectinsert");
        rest.split_to(6).overwrite(4, b"xyz");
    }

    #[test]
    fn an_empty_pool_says_so_and_the_groups_do_not_mix() {
        let pool = Pool::new(TINY, TINY);
        let held: Vec<_> = std::iter::from_fn(|| pool.take(Group::Small)).collect();
        assert_eq!(held.len(), 2);
        assert_eq!(pool.available(Group::Small), 0);
        assert_eq!(pool.available(Group::Large), 2);
        drop(held);
        assert_eq!(pool.available(Group::Small), 2);
    }

    #[test]
    fn a_span_outlives_the_engine_that_made_it() {
        let pool = Pool::new(TINY, TINY);
        let mut span = pool.take(Group::Large).expect("a free buffer");
        write(&mut span, b"still here");
        drop(pool);
        assert_eq!(span.bytes(), b"still here");
    }

    #[test]
    fn debug_output_has_no_bytes_of_the_peer() {
        let pool = Pool::new(TINY, TINY);
        let mut span = pool.take(Group::Small).expect("a free buffer");
        write(&mut span, b"password");
        assert!(!format!("{span:?}").contains("password"));
    }
}
