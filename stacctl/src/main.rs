//! stacctl
fn main() {}
