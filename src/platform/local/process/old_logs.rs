//! What is kept of the logs of instances that have ended: the newest, within two bounds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::logs::LOG_BYTES_MAX;

/// Instances that have ended and whose logs are kept, for each app …
pub const OLD_LOGS_MAX: usize = 50;

/// … and how many bytes those may have together: eight that have printed as much as is kept of one.
pub const OLD_LOGS_BYTES_MAX: u64 = 8 * 2 * LOG_BYTES_MAX;

/// What the files of one instance end with: its log, the part before, and one that is being made.
const ENDINGS: [&str; 3] = [".log", ".log.1", ".log.1.new"];

/// One instance's files.
#[derive(Debug)]
struct Old {
    files: Vec<PathBuf>,
    bytes: u64,
    /// When it printed last.
    printed: SystemTime,
}

/// Removes the oldest logs beyond the bounds, and none of an instance in `in_use`. Returns whose.
///
/// # Errors
/// The folder can't be read, or a file not removed.
pub fn prune(
    folder: &Path,
    in_use: &[String],
    instances_max: usize,
    bytes_max: u64,
) -> io::Result<Vec<String>> {
    let mut old: Vec<(String, Old)> =
        by_instance(folder)?.into_iter().filter(|(name, _)| !in_use.contains(name)).collect();
    old.sort_by(|(a, a_old), (b, b_old)| (b_old.printed, b).cmp(&(a_old.printed, a)));
    let (mut kept, mut bytes, mut removed) = (0, 0, Vec::new());
    for (name, old) in old {
        bytes += old.bytes;
        // Once one is too many, so is every older one.
        if removed.is_empty() && kept < instances_max && bytes <= bytes_max {
            kept += 1;
            continue;
        }
        old.files.iter().try_for_each(fs::remove_file)?;
        removed.push(name);
    }
    Ok(removed)
}

fn by_instance(folder: &Path) -> io::Result<BTreeMap<String, Old>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut found: BTreeMap<String, Old> = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(instance) else { continue };
        // One that is cut meanwhile may be gone under this name.
        let Ok(about) = entry.metadata() else { continue };
        let (printed, bytes) = (about.modified()?, about.len());
        let old = found.entry(name).or_insert(Old { files: Vec::new(), bytes: 0, printed });
        old.files.push(entry.path());
        old.bytes += bytes;
        old.printed = old.printed.max(printed);
    }
    Ok(found)
}

/// Returns whose a file is. What nobody here has made is nobody's, and stays.
fn instance(file: &str) -> Option<String> {
    ENDINGS.iter().find_map(|ending| file.strip_suffix(ending)).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Files by name, size and age in minutes.
    fn folder(files: &[(&str, usize, u64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (name, size, minutes) in files {
            let path = folder.path().join(name);
            fs::write(&path, vec![b'x'; *size]).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(now - Duration::from_secs(60 * minutes)).unwrap();
        }
        folder
    }

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_first_and_those_in_use_never() {
        let files = [
            ("v1-1.log", 10, 900), // stable: the oldest of all
            ("v1-1.log.1", 90, 950),
            ("v2-2.log", 10, 40),
            ("v2-2.log.1", 20, 50),
            ("v3-3.log", 10, 30),
            ("v4-4.log", 10, 20),
            ("v4-4.log.1.new", 1, 60),
            ("v5-5.log", 0, 10),
            ("notes.txt", 500, 999),
        ];
        // how many, how many bytes, and whose are removed, the newest first
        let table: [(usize, u64, &[&str]); 6] = [
            (4, 51, &[]),
            (3, 51, &["v2-2"]),
            (4, 50, &["v2-2"]),
            (4, 20, &["v3-3", "v2-2"]),
            (1, 51, &["v4-4", "v3-3", "v2-2"]),
            (0, 51, &["v5-5", "v4-4", "v3-3", "v2-2"]),
        ];
        for (instances, bytes, expected) in table {
            let folder = folder(&files);
            let in_use = ["v1-1".to_owned()];
            let removed = prune(folder.path(), &in_use, instances, bytes).unwrap();
            assert_eq!(removed, expected, "{instances} {bytes}");
            let mut stays: Vec<&str> = files.iter().map(|(name, ..)| *name).collect();
            stays.retain(|name| !removed.iter().any(|gone| name.starts_with(gone.as_str())));
            stays.sort_unstable();
            assert_eq!(left(folder.path()), stays);
            assert_eq!(prune(folder.path(), &in_use, instances, bytes).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn a_large_one_takes_no_smaller_older_one_s_place() {
        let folder = folder(&[("new.log", 10, 1), ("large.log", 100, 2), ("old.log", 1, 3)]);
        assert_eq!(prune(folder.path(), &[], 9, 50).unwrap(), ["large", "old"]);
    }

    #[test]
    fn no_folder_has_no_logs() {
        assert_eq!(prune(Path::new("/no/such/folder"), &[], 1, 1).unwrap(), [""; 0]);
    }
}
