//! The folder lock: two processes on one file would each believe to be the only writer.
//!
//! The operating system drops the lock with the process, however that ends; the text in the file only names the holder.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use paybell_core::Timestamp;

use crate::{error::OpenError, schema};

const FILE_NAME: &str = "paybell.lock";

/// Stands in the holder's text before what a command holds the folder for; a service's text has none.
const ERRAND: &str = " for ";

/// Longest holder text that is read back.
const HOLDER_BYTES_MAX: u64 = 200;

/// Held as long as it lives.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder if it is not there, and locks it; for an errand it must be there, with the file in it.
    pub fn take(data_dir: &Path, errand: Option<&str>, now: Timestamp) -> Result<Self, OpenError> {
        let path = data_dir.join(FILE_NAME);
        match errand {
            Some(_) => must_exist(&data_dir.join(schema::FILE_NAME))?,
            None => make_folder(data_dir).map_err(|source| folder_error(data_dir, source))?,
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| folder_error(&path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder_of(&mut file);
                let is_errand = holder.contains(ERRAND);
                return Err(OpenError::Locked { path: data_dir.to_owned(), holder, is_errand });
            }
            Err(TryLockError::Error(source)) => return Err(folder_error(&path, source)),
        }
        sign(&mut file, errand, now).map_err(|source| folder_error(&path, source))?;
        Ok(Self { _file: file })
    }
}

fn folder_error(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Folder { path: PathBuf::from(path), source }
}

fn make_folder(data_dir: &Path) -> std::io::Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir)?;
    // The name of a new folder is durable only once its parent is.
    match data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn must_exist(database: &Path) -> Result<(), OpenError> {
    match database.try_exists() {
        Ok(true) => Ok(()),
        // Of a relative path only the whole says where it was looked for.
        Ok(false) => {
            Err(OpenError::Missing { path: std::path::absolute(database).unwrap_or(database.to_owned()) })
        }
        Err(source) => Err(folder_error(database, source)),
    }
}

fn sign(file: &mut File, errand: Option<&str>, now: Timestamp) -> std::io::Result<()> {
    let errand = errand.map(|errand| format!("{ERRAND}{errand}")).unwrap_or_default();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    // In one piece: whoever finds the lock taken reads this meanwhile.
    file.write_all(format!("process {} since {now}{errand}", std::process::id()).as_bytes())
}

fn holder_of(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(bytes) if bytes > 0 => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_second_taker_learns_who_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("deep/data");
        let first = FolderLock::take(&data_dir, None, NOW).unwrap();
        let Err(error) = FolderLock::take(&data_dir, None, NOW) else { panic!("locked twice") };
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(FolderLock::take(&data_dir, None, NOW).is_ok());
    }

    #[test]
    fn an_errand_makes_nothing_and_says_what_it_holds_the_folder_for() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let errand = || FolderLock::take(&data_dir, Some("paybell reconcile"), NOW);
        let Err(error) = errand() else { panic!("it took a folder that is not there") };
        assert!(matches!(&error, OpenError::Missing { path } if path.starts_with(&data_dir)), "{error}");
        assert!(!data_dir.exists());
        let is_errand = || match FolderLock::take(&data_dir, None, NOW) {
            Err(OpenError::Locked { is_errand, .. }) => Some(is_errand),
            _ => None,
        };
        // A service that never got as far as its file left nothing either.
        let service = FolderLock::take(&data_dir, None, NOW).unwrap();
        assert_eq!(is_errand(), Some(false));
        drop(service);
        assert!(matches!(errand(), Err(OpenError::Missing { .. })));
        std::fs::write(data_dir.join(schema::FILE_NAME), "").unwrap();
        let held = errand().unwrap();
        assert_eq!(is_errand(), Some(true));
        drop(held);
        assert_eq!(is_errand(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let _lock = FolderLock::take(&data_dir, None, NOW).unwrap();
        assert_eq!(data_dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}
