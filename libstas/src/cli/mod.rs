//! What the command-line tools share: output formats.
