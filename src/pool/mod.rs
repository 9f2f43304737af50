//! One worker's backends: who may connect where, and who waits for a place.
