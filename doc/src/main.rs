//! Writes the manual pages.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    for page in manual::pages()? {
        fs::write(manual::folder().join(&page.name), &page.text)?;
        println!("doc/man/{}", page.name);
    }
    Ok(())
}
