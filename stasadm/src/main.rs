//! stasadm
fn main() {}
