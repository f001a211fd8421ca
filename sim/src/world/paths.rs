//! Where the log lives on the simulated disk, and how its files are called by
//! meaning.

use crate::disk::SimDisk;
use crate::fault::matches;

/// The directory that is given to the log.
pub(crate) const DATA_DIR: &str = "/log";

/// What the paths of its files begin with.
pub(crate) const LOG: &str = "/log/.merkql/";

/// A pattern below the log's directory, as a pattern of whole paths.
pub(crate) fn pattern(file: &str) -> String {
    if file == "*" { file.to_owned() } else { format!("{LOG}{file}") }
}

/// The files that match, in order.
pub(crate) fn matching(disk: &SimDisk, file: &str) -> Vec<String> {
    let pattern = pattern(file);
    disk.files().into_iter().filter(|path| matches(&pattern, path)).collect()
}

/// What a file is, without the numbers that say which generation of it: the
/// pattern that addresses use.
pub(crate) fn role(path: &str) -> String {
    let Some(file) = path.strip_prefix(LOG) else { return path.to_owned() };
    let names: Vec<&str> = file.split('/').collect();
    match names.as_slice() {
        ["journal", _] => "journal/*".to_owned(),
        ["topics", topic, rest @ ..] => {
            let topic = topic.rsplit_once('.').map_or(*topic, |(name, _)| name);
            let mut role = format!("topics/{topic}.*");
            for name in rest {
                role.push('/');
                match name.rsplit_once('.') {
                    Some((_, extension)) => {
                        role.push_str("*.");
                        role.push_str(extension);
                    }
                    None => role.push_str(name),
                }
            }
            role
        }
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_says_what_a_file_is_and_matches_it() {
        for (path, expected) in [
            ("/log/.merkql/journal/1.wal", "journal/*"),
            ("/log/.merkql/manifest.a", "manifest.a"),
            ("/log/.merkql/topics/a.b.3/0/0.1.log", "topics/a.b.*/0/*.log"),
            ("/log/.merkql/topics/t.1/2/hashes", "topics/t.*/2/hashes"),
            ("/log/.merkql/topics/t.1", "topics/t.*"),
        ] {
            assert_eq!(role(path), expected);
            assert!(matches(&pattern(&role(path)), path), "{path}");
        }
        assert_eq!(role("/log"), "/log");
    }
}
