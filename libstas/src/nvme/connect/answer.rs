//! What the kernel answers to a connection that it made.

/// `instance=3,cntlid=1`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The N of nvmeN.
    pub instance: u32,
    /// The controller ID at the target, if the kernel says it.
    pub cntlid: Option<u16>,
}

/// Reads the answer. `None` for anything else: the list of options, too, begins with `instance`, but of -1.
#[must_use]
pub fn parse_answer(text: &str) -> Option<Answer> {
    let value = |key: &str| text.split(',').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('='));
    let instance = value("instance")?.parse().ok()?;
    Some(Answer { instance, cntlid: value("cntlid").and_then(|number| number.parse().ok()) })
}
