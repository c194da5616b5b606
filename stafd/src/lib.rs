//! stafd
