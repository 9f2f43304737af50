//! A secret in memory that is neither swapped nor dumped, and wiped before it is given back.

use std::{
    fmt, io,
    ptr::{self, NonNull},
    slice,
};

use zeroize::Zeroize;

/// Bytes of the memory of one secret: a page of most machines, since nothing smaller can be locked.
pub const LOCKED_BYTES: usize = 4096;

/// One secret in memory of its own.
///
/// Invariant: `memory` is a mapping of `LOCKED_BYTES` that nobody else has, and `length <= LOCKED_BYTES` of it are the secret.
pub struct Locked {
    memory: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the value alone, and nothing writes to it while it can be read from: `new` wrote it before
// there was a value, and `drop` has it alone again.
unsafe impl Send for Locked {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for Locked {}

impl Locked {
    /// Copies a secret to memory of its own.
    ///
    /// # Errors
    /// When it has more than `LOCKED_BYTES`, or the process may lock no more memory (`ulimit -l`, `LimitMEMLOCK=`).
    pub fn new(secret: &[u8]) -> io::Result<Locked> {
        if secret.len() > LOCKED_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the secret is too long"));
        }
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory that anything else has.
        let memory = unsafe { libc::mmap(ptr::null_mut(), LOCKED_BYTES, access, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast::<u8>()).expect("the kernel maps nothing at 0 unless it is asked to");
        // From here on the mapping is unmapped when the value is dropped, also if it cannot be locked.
        let locked = Locked { memory, length: secret.len() };
        // SAFETY: both calls concern this mapping alone, and change nothing that is in it.
        let is_kept = unsafe {
            libc::mlock(memory.as_ptr().cast(), LOCKED_BYTES) == 0
                && libc::madvise(memory.as_ptr().cast(), LOCKED_BYTES, libc::MADV_DONTDUMP) == 0
        };
        if !is_kept {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping has room for `LOCKED_BYTES`, which the secret does not exceed, and overlaps with nothing.
        unsafe { ptr::copy_nonoverlapping(secret.as_ptr(), memory.as_ptr(), secret.len()) };
        Ok(locked)
    }

    /// The secret, for the one calculation that needs it.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `length` bytes of the mapping were written in `new`, and live as long as the value.
        unsafe { slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the value is not shared any more, so nobody reads what is wiped, and nobody has the mapping after it is gone.
        unsafe {
            slice::from_raw_parts_mut(self.memory.as_ptr(), self.length).zeroize();
            libc::munmap(self.memory.as_ptr().cast(), LOCKED_BYTES);
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Locked(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What the kernel says of the mapping that has this address.
    fn flags_at(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").expect("the kernel tells of the process's memory");
        let range = |line: &str| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        };
        let mut lines = maps.lines().skip_while(|line| !range(line).is_some_and(|range| range.contains(&address)));
        lines.find(|line| line.starts_with("VmFlags:")).expect("each mapping has flags").to_owned()
    }

    #[test]
    fn a_secret_is_locked_and_not_dumped() {
        let locked = Locked::new(b"hunter2").expect("a page can be locked");
        assert_eq!(locked.expose(), b"hunter2");
        let flags = flags_at(locked.memory.as_ptr() as usize);
        let has = |flag| flags.split_whitespace().any(|word| word == flag);
        assert!(has("lo") && has("dd"), "locked, and left out of dumps: {flags}");
        assert_eq!(format!("{locked:?}"), "Locked(..)");
    }

    #[test]
    fn a_secret_has_a_bound() {
        assert!(Locked::new(&[1; LOCKED_BYTES]).is_ok());
        assert!(Locked::new(&[1; LOCKED_BYTES + 1]).is_err());
        assert_eq!(Locked::new(b"").expect("an empty one is one").expose(), b"");
    }
}
