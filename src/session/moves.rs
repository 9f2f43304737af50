//! What a piece of bytes means: what `relay` says of it, and `carrying` does about it.

use crate::protocol::{command::ReplyShape, error_code::Error, packet::HEADER_LENGTH, statement::StatementId};

use super::{Side, Step, errand::KillId};

/// What a piece of bytes means.
pub(super) enum Move {
    /// Nothing but this.
    Pass(Step),
    /// A command begins, and passes.
    Begin(Step),
    /// What was under way has come to its end with these bytes.
    Over(Step),
    /// The client is done.
    Quit,
    /// A swallowed command is over: answer it with this error.
    Refuse { length: usize, sequence: u8, error: Error },
    /// A server must be made ready before the command can go there.
    Ready(Side),
    /// Another packet goes to a server in place of a whole command of the client.
    Say { side: Side, packet: Vec<u8>, shape: ReplyShape, length: usize },
    /// This beginning of a command goes home in place of the first `length` bytes.
    Head { packet: Vec<u8>, length: usize },
    /// A command that nobody answers is over with this.
    Silent(Step),
    /// A packet of the reply is the client's in another form.
    Rewritten { length: usize, packet: Vec<u8>, is_over: bool },
    /// The replica did not run the read: home must.
    Repeat { length: usize },
    /// Home did not run the statement: another home must.
    RefusedAtHome { length: usize, code: u16 },
    /// Home runs no more of the transaction.
    TransactionRefused { length: usize, sequence: u8 },
    /// The replica said what it must not.
    ReplicaFault,
    /// The last command of a session that is recalled is swallowed.
    Farewell { length: usize, sequence: u8 },
    /// A whole command that the session itself must handle.
    Own { command: OwnCommand, length: usize },
    /// The packet does not begin a command.
    OutOfOrder,
    /// The server says why it is about to hang up, in this many bytes.
    ServerGoodbye { length: usize },
    /// The server sent what cannot be.
    ServerFault,
}

impl Move {
    /// The same with another number for the statement in the packet that passes.
    pub(super) fn under(self, number: StatementId) -> Move {
        let renumbered = |step| match step {
            Step::Forward { to, length } => {
                let at = HEADER_LENGTH + StatementId::OFFSET;
                Step::Renumber { to, length, at, number: number.0.to_le_bytes() }
            }
            other => other,
        };
        match self {
            Move::Pass(step) => Move::Pass(renumbered(step)),
            Move::Begin(step) => Move::Begin(renumbered(step)),
            Move::Over(step) => Move::Over(renumbered(step)),
            Move::Silent(step) => Move::Silent(renumbered(step)),
            other => other,
        }
    }
}

/// Commands that are not simply forwarded.
pub(super) enum OwnCommand {
    ChangeUser,
    Kill(KillId),
}
