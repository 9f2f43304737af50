//! The servers, what is believed of each, and the routing table made of it.
