//! What an OK says of the session, in one order. The servers' own order is that of a hash table, which depends on how
//! many variables are tracked, and sqluice has its servers track more than a client asks for.

use super::wire::lenenc;

const STATE_CHANGED: u16 = 0x4000;

/// The packet with its trackers sorted, if it is an OK that has any; any other packet as it is.
pub(crate) fn with_sorted_trackers(packet: &[u8]) -> Vec<u8> {
    match sorted(packet) {
        Some(packet) => packet,
        None => packet.to_vec(),
    }
}

fn sorted(packet: &[u8]) -> Option<Vec<u8>> {
    let mut rest = match packet {
        [0x00 | 0xFE, rest @ ..] => rest,
        _ => return None,
    };
    for _affected_and_inserted in 0..2 {
        rest = rest.get(number(rest)?.1..)?;
    }
    let status = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
    if status & STATE_CHANGED == 0 {
        return None;
    }
    let (_info, after) = text(rest.get(4..)?)?;
    let (trackers, after) = text(after)?;
    let mut entries = entries(trackers)?;
    entries.sort();
    let head = packet.len() - trackers.len();
    after.is_empty().then(|| [packet[..head].to_vec(), entries.concat()].concat())
}

/// Each tracker, with a group of variables taken apart.
fn entries(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while let [kind, after @ ..] = rest {
        let (data, after) = text(after)?;
        let mut variables = data;
        while *kind == 0 && !variables.is_empty() {
            let (name, after_name) = text(variables)?;
            let (value, after_value) = text(after_name)?;
            entries.push([b"\0", name, b"=", value].concat());
            variables = after_value;
        }
        if *kind != 0 {
            entries.push([&[*kind], data].concat());
        }
        rest = after;
    }
    Some(entries)
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, width) = number(bytes)?;
    let end = width.checked_add(usize::try_from(length).ok()?)?;
    Some((bytes.get(width..end)?, &bytes[end..]))
}

/// A length and how many bytes it takes, if the bytes have all of them.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let width = match bytes.first()? {
        0xFC => 3,
        0xFD => 4,
        0xFE => 9,
        _ => 1,
    };
    (bytes.len() >= width).then(|| lenenc(bytes))
}
