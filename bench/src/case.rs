//! What is asked.

use crate::dataset::Table;
use crate::program;

/// What a measurement does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// One row of 100 bytes by a text statement
    PointSelect,
    /// The same row by a prepared statement
    Prepared,
    /// One row of 4 KiB
    #[value(name = "row-4k")]
    Row4K,
    /// 64 rows of 1 KiB
    #[value(name = "result-64k")]
    Result64K,
    /// 1024 rows of 1 KiB
    #[value(name = "result-1m")]
    Result1M,
    /// Connect, log in, one point select, quit: all of it is one request
    Short,
    /// The same, over a TLS session that is resumed
    ShortResumed,
    /// One connection with point selects beside idle ones
    Idle,
    /// Point selects, updates, inserts and a transaction, statement by statement
    ReadWrite,
}

impl Case {
    pub(crate) const ALL: [Case; 9] = [
        Case::PointSelect,
        Case::Prepared,
        Case::Row4K,
        Case::Result64K,
        Case::Result1M,
        Case::Short,
        Case::ShortResumed,
        Case::Idle,
        Case::ReadWrite,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::PointSelect => "point-select",
            Case::Prepared => "prepared",
            Case::Row4K => "row-4k",
            Case::Result64K => "result-64k",
            Case::Result1M => "result-1m",
            Case::Short => "short",
            Case::ShortResumed => "short-resumed",
            Case::Idle => "idle",
            Case::ReadWrite => "read-write",
        }
    }

    /// Whether a full run also measures it in an open loop: where the latency of a single statement is what counts.
    pub(crate) fn has_open_pass(self) -> bool {
        match self {
            Case::PointSelect | Case::Prepared | Case::Row4K | Case::ReadWrite => true,
            Case::Result64K | Case::Result1M | Case::Short | Case::ShortResumed | Case::Idle => false,
        }
    }

    /// Which part of the reads stands outside of transactions.
    pub(crate) fn free_reads(self) -> f64 {
        match self {
            Case::ReadWrite => program::SELECTS as f64 / (program::SELECTS + 1) as f64,
            Case::PointSelect
            | Case::Prepared
            | Case::Row4K
            | Case::Result64K
            | Case::Result1M
            | Case::Short
            | Case::ShortResumed
            | Case::Idle => 1.0,
        }
    }

    pub(crate) fn table(self) -> Table {
        match self {
            Case::PointSelect | Case::Prepared | Case::Short | Case::ShortResumed | Case::Idle | Case::ReadWrite => {
                Table::Point
            }
            Case::Row4K => Table::Row4K,
            Case::Result64K => Table::Rows64K,
            Case::Result1M => Table::Rows1M,
        }
    }
}
