//! Health: what the servers say of themselves, turned into the next routing table.
