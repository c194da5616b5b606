//! libstas
