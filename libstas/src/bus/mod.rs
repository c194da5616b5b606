//! D-Bus: names, wire types and typed proxies.
