//! stacd
fn main() {}
