//! nvmet
fn main() {}
