//! What is in flight: the slots of sockets, and the 64 bits by which a completion finds its way back.

use super::event::SocketId;

/// The most slots one engine can have: a slot is 24 of the 64 bits of an operation's name.
pub(super) const SLOTS_MAX: usize = 1 << 24;

/// What an operation is. At most one of each kind is in flight per slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Receive = 1,
    Send = 2,
    Connect = 3,
    Accept = 4,
    Wake = 5,
}

/// Says which operation completed: its kind, and the slot and generation of its owner. On io_uring this is `user_data`,
/// on epoll the event's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    /// The request to cancel this operation, not the operation itself.
    pub(super) cancel: bool,
    pub(super) owner: SocketId,
}

impl Tag {
    const CANCEL: u64 = 1 << 63;

    pub(super) fn new(kind: Kind, owner: SocketId) -> Tag {
        Tag { kind, cancel: false, owner }
    }

    /// The name of the request to cancel the operation with this name.
    pub(super) fn cancellation(self) -> Tag {
        Tag { cancel: true, ..self }
    }

    /// Layout from the top: 1 bit cancel, 7 bits kind, 24 bits slot, 32 bits generation.
    pub(super) fn to_bits(self) -> u64 {
        let cancel = if self.cancel { Self::CANCEL } else { 0 };
        cancel | (self.kind as u64) << 56 | u64::from(self.owner.slot) << 32 | u64::from(self.owner.generation)
    }

    /// None for bits that no operation of ours has.
    pub(super) fn from_bits(bits: u64) -> Option<Tag> {
        let kind = match bits >> 56 & 0x7F {
            1 => Kind::Receive,
            2 => Kind::Send,
            3 => Kind::Connect,
            4 => Kind::Accept,
            5 => Kind::Wake,
            _ => return None,
        };
        let owner = SocketId { slot: (bits >> 32) as u32 & 0x00FF_FFFF, generation: bits as u32 };
        Some(Tag { kind, cancel: bits & Self::CANCEL != 0, owner })
    }
}

/// A bounded table whose entries are named by slot and generation, so that an old name never finds a new entry.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Invariant: `slots.len() <= slots_max`.
    slots_max: usize,
}

struct Slot<T> {
    /// Grows when the slot is emptied. It would have to wrap around within one old name's life to be mistaken.
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// Reserves the room for `slots_max` entries; the pages are touched only when used.
    pub(super) fn new(slots_max: usize) -> Slots<T> {
        assert!(slots_max <= SLOTS_MAX);
        Slots { slots: Vec::with_capacity(slots_max), free: Vec::with_capacity(slots_max), slots_max }
    }

    /// Gives the value back when the table is full.
    pub(super) fn insert(&mut self, value: T) -> Result<SocketId, T> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.value = Some(value);
            let generation = entry.generation;
            return Ok(SocketId { slot, generation });
        }
        if self.slots.len() == self.slots_max {
            return Err(value);
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Ok(SocketId { slot, generation: 0 })
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_mut()
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All entries with their names.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SocketId, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, entry)| {
            let id = SocketId { slot: slot as u32, generation: entry.generation };
            Some((id, entry.value.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_way_through_the_kernel() {
        for kind in [Kind::Receive, Kind::Send, Kind::Connect, Kind::Accept, Kind::Wake] {
            let owner = SocketId { slot: 0x00AB_CDEF, generation: 0xFEDC_BA98 };
            let tag = Tag::new(kind, owner);
            assert_eq!(Tag::from_bits(tag.to_bits()), Some(tag));
            let cancel = tag.cancellation();
            assert_eq!(Tag::from_bits(cancel.to_bits()), Some(cancel));
            assert_ne!(cancel.to_bits(), tag.to_bits());
        }
        assert_eq!(Tag::from_bits(0), None);
        assert_eq!(Tag::from_bits(u64::MAX), None);
    }

    #[test]
    fn an_old_name_never_finds_the_new_entry_of_its_slot() {
        let mut slots = Slots::new(1);
        let old = slots.insert('a').expect("room");
        assert_eq!(slots.insert('b'), Err('b'));
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('c').expect("room again");
        assert_eq!(new.slot, old.slot);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get_mut(new), Some(&mut 'c'));
        assert_eq!(slots.len(), 1);
    }
}
