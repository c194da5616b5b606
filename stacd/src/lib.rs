//! stacd
