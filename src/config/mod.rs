//! The configuration: a file as written, resolved into a proven `Config`.
