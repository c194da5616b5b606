//! stafd
fn main() {}
