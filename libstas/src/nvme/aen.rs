//! Asynchronous events, as the kernel's NVME_AEN shows them: completion dword 0 (NVMe Base 2.0, Figure 145).

/// A notice (type 2) of a changed discovery log page (information F0h), to be cleared by reading page 70h.
pub const DISCOVERY_LOG_CHANGED: u32 = 0x0070_f002;

/// Reads the kernel's `0x70f002`.
#[must_use]
pub fn parse(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().trim_start_matches("0x").trim_start_matches("0X"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_hexadecimal_is_read() {
        assert_eq!(parse("0x70f002"), Some(DISCOVERY_LOG_CHANGED));
        assert_eq!(parse("nonsense"), None);
    }
}
