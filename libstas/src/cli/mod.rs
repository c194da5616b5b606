//! What the command-line tools share.
//!
//! | module | what it is about |
//! |---|---|
//! | [`output`] | which format an answer has, and printing it |
//! | [`table`] | the tables and outlines that people read |
//! | [`pprint`] | Python's notation, which scripts of nvme-stas parse |
//! | [`client`] | a tool's way to its daemon, and what it says when that fails |

pub mod client;
pub mod output;
pub mod pprint;
pub mod table;
