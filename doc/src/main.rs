//! Writes the manual pages and the completion scripts.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    for page in manual::pages()? {
        fs::write(manual::folder().join(&page.name), &page.text)?;
        println!("doc/man/{}", page.name);
    }
    fs::create_dir_all(manual::completion_folder())?;
    for script in manual::completions() {
        fs::write(manual::completion_folder().join(&script.name), &script.text)?;
        println!("doc/completion/{}", script.name);
    }
    Ok(())
}
