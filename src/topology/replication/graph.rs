//! Who replicates from whom, among the configured servers.

use super::line::view_of;
use super::{Channel, Identity};
use crate::config::ServerAddress;
use crate::topology::standing::Member;

/// The configured servers that one of them replicates from.
pub(super) fn sources<'a>(members: &'a [Member<'a>], place: usize) -> impl Iterator<Item = usize> + 'a {
    let channels = view_of(members[place].belief).map_or(&[][..], |view| view.channels());
    let live = channels.iter().filter(|channel| channel.is_live());
    live.filter_map(move |channel| members.iter().position(|member| leads_to(channel, member)))
        .filter(move |at| *at != place)
}

/// By who the source says it is, or else by its address: behind a translation of addresses they differ.
fn leads_to(channel: &Channel, member: &Member<'_>) -> bool {
    let identity = view_of(member.belief).map(|view| &view.identity);
    match (&channel.source, identity) {
        (Some(source), Some(identity)) => is_same(source, identity),
        _ => has_address(channel, &member.server.address),
    }
}

fn is_same(source: &Identity, identity: &Identity) -> bool {
    match (&source.uuid, &identity.uuid) {
        (Some(source), Some(uuid)) => source == uuid,
        _ => source.server_id == identity.server_id,
    }
}

fn has_address(channel: &Channel, address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Tcp { host, port } => channel.port == *port && channel.host.eq_ignore_ascii_case(host),
        ServerAddress::Unix(_) => false,
    }
}
