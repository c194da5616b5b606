//! What the command-line tools share: output formats.

pub mod pprint;
