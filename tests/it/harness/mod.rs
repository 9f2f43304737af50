//! What the tests stand on: real servers, a running sqluice, a client that sees every packet, drivers in their own
//! processes. Nothing here imports the crate: an oracle must not share the bugs of what it judges.

mod balancer;
mod browser;
pub(crate) mod checker;
mod cutter;
mod deadline;
mod disk;
mod doorman;
mod network;
mod process;
mod script;
mod servers;
mod sets;
mod split;
mod statements;
mod tracker_order;
pub(crate) mod wire;

pub(crate) use balancer::{Sqluice, Start, cluster, cluster_on, user};
pub(crate) use browser::{Browser, Scheme};
pub(crate) use cutter::Cutter;
pub(crate) use deadline::{WAIT_MAX, eventually};
pub(crate) use disk::Disk;
pub(crate) use doorman::Doorman;
pub(crate) use network::{Link, Network};
pub(crate) use process::{Process, signal};
pub(crate) use script::{Finished, client_cli, in_cache, node, php, python, run};
pub(crate) use servers::{ALL_FLAVOURS, Flavour, Server, free_address, fresh_name};
pub(crate) use sets::{Distant, Galera, Group, Trio};
pub(crate) use split::{lend_trio, split_at, split_galera, split_galera_of_equals, split_group, split_trio};
pub(crate) use tracker_order::with_sorted_trackers;
pub(crate) use wire::{Account, Client, Reply, ServerError, Shape};

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How sqluice talks to the kernel; each has code of its own below the session, so each gets every test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    IoUring,
    Epoll,
}

impl Engine {
    /// The value of `[process] io`.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Engine::IoUring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// Runs a test on both engines, the second one also after the first one failed: whether both fail is the first question.
pub(crate) fn on_both_engines(test: impl Fn(Engine)) {
    let mut failure = None;
    for engine in [Engine::IoUring, Engine::Epoll] {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(engine))) {
            eprintln!("^ failed on io = {:?}", engine.setting());
            failure = Some(panic);
        }
    }
    if let Some(panic) = failure {
        resume_unwind(panic);
    }
}

/// Runs `test` on both engines against a shared server of each flavour.
pub(crate) fn on_each_flavour(test: impl Fn(Engine, &Server)) {
    for flavour in ALL_FLAVOURS {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(engine, server))) {
                eprintln!("^ failed with {flavour:?}");
                resume_unwind(panic);
            }
        });
    }
}
