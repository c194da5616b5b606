//! stafctl
fn main() {}
