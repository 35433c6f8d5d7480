//! Which files an `include` names.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What a glob names.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    /// The files, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// The directories that were looked through: a new file in one of them may be meant too.
    pub(crate) directories: Vec<PathBuf>,
}

/// Whether a glob may name any number of files.
pub(crate) fn has_wildcard(glob: &str) -> bool {
    glob.contains(['*', '?'])
}

/// Finds the files that `glob`, a path below `directory`, names.
///
/// # Errors
/// A directory that cannot be read, with the reason.
pub(crate) fn expand(directory: &Path, glob: &str) -> Result<Expansion, (PathBuf, io::Error)> {
    let mut expansion = Expansion::default();
    let root = if glob.starts_with('/') { Path::new("/") } else { directory };
    let mut found = vec![root.to_owned()];
    for component in glob.split('/').filter(|component| !component.is_empty()) {
        found = step(found, component, &mut expansion.directories)?;
    }
    expansion.files = found;
    expansion.files.sort();
    Ok(expansion)
}

/// The paths that `component` names below each of `directories`.
fn step(
    directories: Vec<PathBuf>,
    component: &str,
    looked_through: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    if !has_wildcard(component) {
        return Ok(directories.into_iter().map(|directory| directory.join(component)).collect());
    }
    let mut found = Vec::new();
    for directory in directories {
        let readable = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let entries = match fs::read_dir(readable) {
            Ok(entries) => entries,
            // What an earlier wildcard found need not be a directory.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
            Err(error) => return Err((readable.to_owned(), error)),
        };
        looked_through.push(readable.to_owned());
        for entry in entries {
            let name = entry.map_err(|error| (readable.to_owned(), error))?.file_name();
            if name.to_str().is_some_and(|name| matches(component, name)) {
                found.push(directory.join(name));
            }
        }
    }
    Ok(found)
}

/// Whether `name` has the form of `pattern`. A name that begins with a dot is hidden from wildcards.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // The last `*`, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    p = star_at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml~", false),
            ("*.toml", ".toml", false),
            (".*", ".toml", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "xbya", false),
            ("*", "", true),
            ("caf?", "caf\u{e9}", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b/2.toml", "a/3.toml", "a/1.toml", "a/x.txt", "c.toml"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = expand(directory.path(), "*/*.toml").unwrap();
        let names: Vec<_> =
            found.files.iter().map(|path| path.strip_prefix(directory.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/1.toml", "a/3.toml", "b/2.toml"]);
        assert_eq!(found.directories.len(), 3);
        assert_eq!(expand(directory.path(), "c.toml").unwrap().files.len(), 1);
        assert!(expand(directory.path(), "missing/*.toml").is_err());
    }
}
