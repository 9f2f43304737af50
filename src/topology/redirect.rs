//! Whether clients are sent to another balancer now, and who wants it: the configuration, or a command since.

use serde::{Deserialize, Serialize};

use crate::config::{Entrance, InstantFailover};
use crate::protocol::redirect::Target;

/// What holds of `[instant_failover]` at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Who is sent, where, and how that is told.
    pub settings: InstantFailover,
    /// What becomes of sessions that are there already.
    pub existing: Existing,
    /// Who decided it.
    pub origin: Origin,
}

/// What becomes of the sessions of clients that would be sent elsewhere if they came now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// They go on.
    Stay,
    /// Each goes at the end of its transaction: its next command is answered with the error that sends it.
    Leave,
}

/// Who decided where clients go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file.
    Configuration,
    /// An operator's command, after the file was read.
    Command,
}

impl Redirect {
    /// As the file says.
    pub fn configured(settings: &InstantFailover) -> Redirect {
        Redirect { settings: settings.clone(), existing: Existing::Stay, origin: Origin::Configuration }
    }

    /// As an operator commands.
    pub fn commanded(settings: InstantFailover, existing: Existing) -> Redirect {
        Redirect { settings, existing, origin: Origin::Command }
    }

    /// Whether it is an operator's order, and not the file's.
    pub fn is_commanded(&self) -> bool {
        self.origin == Origin::Command
    }

    /// What holds after a reload. Who spoke last is obeyed: a file that says what it said before takes nothing back.
    pub fn reloaded(&self, before: &InstantFailover, after: &InstantFailover) -> Redirect {
        match self.origin {
            Origin::Command if before == after => self.clone(),
            Origin::Command | Origin::Configuration => Redirect::configured(after),
        }
    }

    /// Where a client is sent that logs in and came in this way.
    pub fn target_for(&self, entrance: Entrance) -> Option<&Target> {
        self.settings.target_for(entrance)
    }

    /// Whether sessions leave whose clients came in this way.
    pub fn recalls(&self, entrance: Entrance) -> bool {
        self.existing == Existing::Leave && self.target_for(entrance).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RedirectMode, RedirectUrl};

    fn settings(mode: RedirectMode) -> InstantFailover {
        let target = Target::new("lb2", 3306);
        InstantFailover {
            mode,
            target,
            error_code: 4196,
            text: "in maintenance".to_owned(),
            redirect_url: RedirectUrl::Off,
            followers: Vec::new(),
        }
    }

    #[test]
    fn mode_on_spares_those_who_came_in_by_another_way_and_mode_all_nobody() {
        let sends = |mode, entrance| Redirect::configured(&settings(mode)).target_for(entrance).is_some();
        for (mode, ordinary, exempt) in
            [(RedirectMode::Off, false, false), (RedirectMode::On, true, false), (RedirectMode::All, true, true)]
        {
            assert_eq!(
                (sends(mode, Entrance::Ordinary), sends(mode, Entrance::Exempt)),
                (ordinary, exempt),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn only_a_command_makes_sessions_leave_and_only_those_it_sends() {
        assert!(!Redirect::configured(&settings(RedirectMode::All)).recalls(Entrance::Ordinary));
        let on = Redirect::commanded(settings(RedirectMode::On), Existing::Leave);
        assert!(on.recalls(Entrance::Ordinary));
        assert!(!on.recalls(Entrance::Exempt));
        assert!(!Redirect::commanded(settings(RedirectMode::Off), Existing::Leave).recalls(Entrance::Ordinary));
    }

    #[test]
    fn a_reload_obeys_whoever_spoke_last() {
        let [off, on, all] = [RedirectMode::Off, RedirectMode::On, RedirectMode::All].map(settings);
        let commanded = Redirect::commanded(on.clone(), Existing::Leave);
        assert_eq!(commanded.reloaded(&off, &off), commanded);
        assert_eq!(commanded.reloaded(&off, &all), Redirect::configured(&all));
        assert_eq!(commanded.reloaded(&all, &off), Redirect::configured(&off));
        assert_eq!(Redirect::configured(&on).reloaded(&on, &on), Redirect::configured(&on));
    }
}
