//! The kernel's answer to a successful connect.

/// `instance=3,cntlid=1`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The N of nvmeN.
    pub instance: u32,
    /// Controller ID that the target assigned. `None` if the kernel does not report it.
    pub cntlid: Option<u16>,
}

/// Reads the answer. `None` for any other text. (The list of supported options starts with `instance`, too, but with
/// `instance=-1`.)
#[must_use]
pub fn parse_answer(text: &str) -> Option<Answer> {
    let value = |key: &str| text.split(',').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('='));
    let instance = value("instance")?.parse().ok()?;
    Some(Answer { instance, cntlid: value("cntlid").and_then(|number| number.parse().ok()) })
}
