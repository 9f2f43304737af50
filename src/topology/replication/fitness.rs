//! Whether a replica may be read from.

use std::sync::Arc;
use std::time::Duration;

use super::{Channel, Receiving, Sources, View};
use crate::topology::Fitness;

/// How fit a replica is, and why it is not fitter. `lags_beyond` is the bound that it is behind by more than;
/// `is_primary_certain` tells whether anything can be missed by not receiving.
pub(super) fn of_replica(
    view: &View,
    lags_beyond: Option<Duration>,
    is_primary_certain: bool,
) -> (Fitness, Option<Arc<str>>) {
    // Where there is no primary, nobody has newer data, and a replica that has lost its source is as good as any.
    let cut_off = if is_primary_certain { Fitness::Unfit } else { Fitness::LastResort };
    if let Some(stopped) = view.channels().iter().find(|channel| channel.is_live() && !channel.applying) {
        return (Fitness::Unfit, Some(with_error("does not apply what it receives", stopped)));
    }
    if let Some(max) = lags_beyond {
        let why = format!("further behind its primary than max_replica_lag ({:.1} s)", max.as_secs_f32());
        return (Fitness::Unfit, Some(why.into()));
    }
    match &view.sources {
        Sources::Told(channels) => match channels.iter().find(|channel| !is_receiving(channel)) {
            Some(channel) if channels.iter().all(|channel| !channel.is_live()) => {
                (cut_off, Some(with_error("its replication is stopped", channel)))
            }
            Some(channel) if channel.is_live() => (cut_off, Some(with_error("does not reach its source", channel))),
            Some(_) => (Fitness::Fit, None),
            None if channels.is_empty() => (cut_off, Some("read-only, and replicates from nobody".into())),
            None => (Fitness::Fit, None),
        },
        Sources::Denied(_) | Sources::Silent => (Fitness::Fit, None),
    }
}

fn is_receiving(channel: &Channel) -> bool {
    channel.receiving == Receiving::Connected
}

fn with_error(what: &str, channel: &Channel) -> Arc<str> {
    match channel.error.is_empty() {
        true => what.into(),
        false => format!("{what}: {}", short(&channel.error)).into(),
    }
}

/// A text as far as it fits a line.
pub(super) fn short(text: &str) -> &str {
    let end = text.char_indices().map(|(at, _)| at).nth(TEXT_CHARACTERS_MAX);
    &text[..end.unwrap_or(text.len())]
}

/// Of a server's words or GTIDs in a reason or an alarm.
const TEXT_CHARACTERS_MAX: usize = 160;
