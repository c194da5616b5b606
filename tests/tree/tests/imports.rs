//! Checks that the modules of a crate do not import each other in a circle.
//!
//! It compares modules at the same level: an import of `a::x` by `b::y` counts as an import of `a` by `b`. Imports
//! between a module and the modules inside it do not count.
//!
//! It reads only `use` declarations that begin a line. It does not see a path that is written out in the code
//! (`super::registry::Registry`), nor what a macro or a `use …::*` brings in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tree::{product_sources, read};

/// The path of a module in its crate; empty for the root.
type Module = Vec<String>;

/// The sources of one crate.
type Sources = BTreeMap<Module, String>;

/// For each module the modules that it imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The module that a source file contains, by its path below `src`. `None` for a program beside the library.
fn module_of(path: &Path) -> Option<Module> {
    let mut module: Module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if module.len() == 1 && ["lib", "main"].contains(&module[0].as_str()) || module.last().is_some_and(|m| m == "mod") {
        module.pop();
    }
    Some(module)
}

/// The `use` declarations of a source without its tests: the paths that each brings in, and whether it re-exports them.
fn declarations(source: &str) -> Vec<(String, bool)> {
    let code = source.split("\nmod tests {").next().unwrap_or("");
    let mut found = Vec::new();
    for (start, line) in code.match_indices("use ").map(|(at, word)| (at + word.len(), at)) {
        let head = code[..line].rsplit('\n').next().unwrap_or("");
        let exports = head.starts_with("pub") && head.ends_with(' ');
        if !head.is_empty() && !exports {
            continue;
        }
        let tree = code[start..].split(';').next().unwrap_or("");
        found.extend(leaves(tree).into_iter().map(|path| (path, exports)));
    }
    found
}

/// The paths of a `use` tree: `a::{b, c::d}` brings in `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or("").trim();
        return vec![path.trim_end_matches("::self").to_owned()];
    };
    let mut depth = 0;
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let branches = inside.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let branches = branches.filter(|branch| !branch.trim().is_empty());
    branches
        .flat_map(leaves)
        .map(|leaf| format!("{}{leaf}", prefix.trim()).trim_end_matches("::self").to_owned())
        .collect()
}

/// The module that defines what a path means in `module`. Follows re-exports. `None` if it is in another crate.
fn defining(sources: &Sources, module: &Module, path: &str) -> Option<Module> {
    let mut words = path.split("::").peekable();
    let mut at = module.clone();
    match *words.peek()? {
        "crate" => at.clear(),
        "self" | "super" => {}
        first if sources.contains_key(&[module.as_slice(), &[first.to_owned()]].concat()) => {}
        _ => return None,
    }
    for word in words {
        match word {
            "crate" | "self" => continue,
            "super" => drop(at.pop()),
            name => {
                let inner = [at.as_slice(), &[name.to_owned()]].concat();
                if sources.contains_key(&inner) {
                    at = inner;
                    continue;
                }
                let exported = declarations(sources.get(&at)?).into_iter().filter(|(_, exports)| *exports);
                let mut paths = exported.filter(|(path, _)| path.rsplit("::").next() == Some(name));
                return match paths.next() {
                    Some((path, _)) => defining(sources, &at, &path),
                    None => Some(at),
                };
            }
        }
    }
    Some(at)
}

/// Which module imports which, among modules that are at the same level.
fn imports(sources: &Sources) -> Imports {
    let mut imports = Imports::new();
    for (module, source) in sources {
        let paths = declarations(source).into_iter().filter(|(_, exports)| !exports);
        for imported in paths.filter_map(|(path, _)| defining(sources, module, &path)) {
            let same = module.iter().zip(&imported).take_while(|(one, other)| one == other).count();
            if same < module.len() && same < imported.len() {
                imports.entry(module[..=same].to_vec()).or_default().insert(imported[..=same].to_vec());
            }
        }
    }
    imports
}

/// The first circle that is found: each module imports the next, and the last is the first again.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    for start in imports.keys() {
        let mut ways: Vec<Vec<&Module>> = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            for next in way.last().and_then(|last| imports.get(*last)).into_iter().flatten() {
                let longer = [way.as_slice(), &[next]].concat();
                if next == start {
                    return Some(longer.into_iter().map(|module| module.join("::")).collect());
                }
                if seen.insert(next) {
                    ways.push(longer);
                }
            }
        }
    }
    None
}

#[test]
fn no_modules_of_a_crate_import_each_other() {
    let mut crates: BTreeMap<PathBuf, Sources> = BTreeMap::new();
    for path in product_sources() {
        let folder: PathBuf = path.iter().take_while(|part| *part != "src").collect();
        let Ok(inside) = path.strip_prefix(folder.join("src")) else { continue };
        if let Some(module) = module_of(inside) {
            crates.entry(folder).or_default().entry(module).or_default().push_str(&read(&path));
        }
    }
    let found: usize = crates.values().map(|sources| imports(sources).len()).sum();
    assert!(crates.len() > 10 && found > 100, "the imports are read");
    for (folder, sources) in &crates {
        let circle = circle(&imports(sources));
        assert_eq!(circle, None, "{}", folder.display());
    }
}

#[test]
fn a_circle_through_a_group_and_a_reexport_is_found() {
    let module = |path: &str| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect::<Module>();
    let sources =
        |texts: &[(&str, &str)]| texts.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect();
    let root = ("", "pub mod a;\npub mod b;\npub use b::c::{First, Second};\n");
    let straight: Sources = sources(&[root, ("a", "use super::{\n    First,\n    b,\n};\n"), ("b", ""), ("b::c", "")]);
    assert_eq!(circle(&imports(&straight)), None);
    let back = ("b::c", "use std::fmt;\n\nuse crate::{First as One, a::{Thing, self}};\n");
    let circular: Sources = sources(&[root, ("a", "use super::First;\n"), ("b", ""), back]);
    assert_eq!(circle(&imports(&circular)), Some(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]));
}
