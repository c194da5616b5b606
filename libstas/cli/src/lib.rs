//! Code shared by the command-line tools.
//!
//! | module | what it is about |
//! |---|---|
//! | [`daemon`] | the daemons that the tools know |
//! | [`output`] | chooses the format of an answer, and prints it |
//! | [`schema`] | the types and names of `-o json` |
//! | [`screen`] | the width of the terminal, and texts that fit it |
//! | [`table`] | tables and outlines for users |
//! | [`pprint`] | Python's notation, for scripts written for nvme-stas |
//! | [`literal`] | reads Python's notation |
//! | [`listing`] | `ls`: selects and sorts controllers, and checks that all are connected |
//! | [`kernel`] | what the kernel shows of a controller: namespaces, ANA states, time limits |
//! | [`lock_file`] | locks a file for the time in which a tool replaces it |
//! | `time` | times as text |
//! | [`watch`] | prints each change of the controllers |
//! | [`why`] | `why`: the history of a controller |
//! | [`client`] | connects a tool to its daemon, and explains failures |

pub mod client;
pub mod daemon;
pub mod kernel;
pub mod listing;
pub mod literal;
pub mod lock_file;
pub mod output;
pub mod pprint;
pub mod schema;
pub mod screen;
pub mod table;
mod time;
pub mod watch;
pub mod why;
