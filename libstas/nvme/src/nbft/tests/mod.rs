mod damage;
mod sound;
mod tables;
mod uri;

/// The table of tests/vm/tables, which says what each byte means.
fn table() -> Vec<u8> {
    let text = include_str!("../../../../../tests/vm/tables/nbft.hex");
    let mut bytes = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap()) {
        let (offset, mut rest) = line.trim().split_once(' ').unwrap_or_default();
        assert!(offset.is_empty() || offset.parse() == Ok(bytes.len()), "{line}");
        while !rest.trim().is_empty() {
            rest = rest.trim();
            let quoted = rest.strip_prefix('"').map(|text| text.split_once('"').unwrap());
            let (token, tail) = quoted.unwrap_or_else(|| rest.split_once(' ').unwrap_or((rest, "")));
            match quoted {
                Some(_) => bytes.extend(token.bytes()),
                None => bytes.push(u8::from_str_radix(token, 16).unwrap()),
            }
            rest = tail;
        }
    }
    bytes
}

/// The table with other bytes at an offset, and a checksum that is right.
fn with(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = table();
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(checksum) = bytes.get_mut(9) {
        *checksum = 0;
    }
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(9) {
        *checksum = sum.wrapping_neg();
    }
    bytes
}
