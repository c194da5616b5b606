//! Linux: the kernel's NVMe-oF host, its events, network interfaces, reachability, names.
