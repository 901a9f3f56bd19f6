//! The folder in which bills are kept as WeChat packed them, for as long as they may be wanted again.
//!
//! A bill has its name only once it is whole on the disk. A name never leads out of the folder. Reads no bill.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use paybell_core::{Day, MchId};

use crate::error::Error;

/// Bills older than this are removed: nothing asks for them again by itself.
const AGE_MAX: Duration = Duration::from_secs(41 * 86_400);
const NAME_CHARS_MAX: usize = 100;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Where a bill is written that has no name yet. Dropping it removes what was written.
#[derive(Debug)]
pub struct Part(PathBuf);

impl Part {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// It has another name by now: nothing is left to remove.
    fn forget(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            drop(fs::remove_file(&self.0));
        }
    }
}

/// The name of a bill in the folder: letters, digits, `.`, `_` and `-`, not beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// `None` if it is none, such as a path.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=NAME_CHARS_MAX).contains(&text.len())
            && text.bytes().all(is_letter)
            && !text.starts_with(['.', '-']);
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Folder {
    /// Opens it, and makes it where it is not there: for nobody else's eyes. One that is there stays as it is.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = match path.parent() {
            _ if path.is_dir() => Ok(()),
            Some(parent) => fs::create_dir_all(parent).and_then(|()| builder.recursive(true).create(path)),
            None => builder.create(path),
        };
        made.map_err(|cause| failed("making the folder", path, cause))?;
        Ok(Self(path.to_owned()))
    }

    /// One that may not be there yet: whatever is to lie in it fails by itself then.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of that name lies, or would.
    #[must_use]
    pub fn path_of(&self, name: &FileName) -> PathBuf {
        self.0.join(name.as_str())
    }

    /// A bill that is here already.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.path_of(&FileName::new(name)?);
        path.is_file().then_some(path)
    }

    /// Where a day's bill is written. What a process that died left there is overwritten.
    #[must_use]
    pub fn part(&self, mch_id: &MchId, day: Day) -> Part {
        Part(self.0.join(format!(".{mch_id}-{day}.part")))
    }

    /// Gives a whole bill its name, durably.
    pub fn keep(&self, part: Part, mch_id: &MchId, day: Day) -> Result<FileName, Error> {
        let written = part.path();
        let packed = begins_packed(written).map_err(|cause| failed("reading", written, cause))?;
        let name = FileName(format!("{mch_id}-{day}.csv{}", if packed { ".gz" } else { "" }));
        let path = self.path_of(&name);
        File::open(written)
            .and_then(|file| file.sync_all())
            .map_err(|cause| failed("storing", written, cause))?;
        #[cfg(unix)]
        close_to_others(written).map_err(|cause| failed("closing to others", written, cause))?;
        fs::rename(written, &path).map_err(|cause| failed("naming", &path, cause))?;
        part.forget();
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(|cause| failed("storing", &self.0, cause))?;
        Ok(name)
    }

    /// Lays a person's bill into the folder, under a name that no other has.
    pub fn lay(&self, from: &Path, mch_id: &MchId, day: Day, token: u64) -> Result<FileName, Error> {
        let packed = begins_packed(from).map_err(|cause| failed("reading", from, cause))?;
        let part = Part(self.0.join(format!(".{mch_id}-{day}-given-{token:016x}.part")));
        fs::copy(from, part.path()).map_err(|cause| failed("copying into the folder", from, cause))?;
        let ending = if packed { ".gz" } else { "" };
        let name = FileName(format!("{mch_id}-{day}-given-{token:016x}.csv{ending}"));
        let path = self.path_of(&name);
        File::open(part.path())
            .and_then(|file| file.sync_all())
            .map_err(|cause| failed("storing", part.path(), cause))?;
        fs::rename(part.path(), &path).map_err(|cause| failed("naming", &path, cause))?;
        part.forget();
        Ok(name)
    }

    /// Removes what is old: bills, and parts that nobody finished.
    pub fn clear(&self, now: SystemTime) -> Result<usize, Error> {
        let entries = fs::read_dir(&self.0).map_err(|cause| failed("reading", &self.0, cause))?;
        let mut removed = 0;
        for entry in entries.flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = age.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > AGE_MAX));
            let is_ours = entry.file_name().to_str().is_some_and(is_our_name);
            if is_old && is_ours && fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(unix)]
fn close_to_others(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

/// Whether we gave it: other files of the folder are somebody else's.
fn is_our_name(name: &str) -> bool {
    let (name, is_part) = match name.strip_prefix('.') {
        Some(name) => (name.strip_suffix(".part"), true),
        None => (name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".csv"), false),
    };
    let Some((mch_id, rest)) = name.and_then(|name| name.split_once('-')) else { return false };
    let (Some(day), Some(token)) = (rest.get(..10), rest.get(10..)) else { return false };
    let is_hex = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Parts had a token before.
    let given = token.strip_prefix("-given-").or_else(|| token.strip_prefix('-').filter(|_| is_part));
    MchId::new(mch_id).is_ok() && Day::parse(day).is_ok() && (token.is_empty() || given.is_some_and(is_hex))
}

fn begins_packed(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut head)?;
    Ok(head == GZIP)
}

fn failed(what: &str, path: &Path, cause: io::Error) -> Error {
    Error::Folder { what: format!("{what} {}", path.display()), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        for name in ["1900000109-2026-11-19.csv.gz", "a", "A_b-c.d"] {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(101);
        for name in
            ["", ".", "..", "../a", "a/b", "/etc/passwd", ".hidden", "a\\b", "a b", "-rf", "a\0", &long]
        {
            assert_eq!(FileName::new(name), None, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_a_bill() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("data/bills")).unwrap();
        let (mch_id, day) = (MchId::new("1900000109").unwrap(), Day::parse("2026-11-19").unwrap());
        let part = folder.part(&mch_id, day);
        fs::write(part.path(), "plain").unwrap();
        fs::set_permissions(part.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let name = folder.keep(part, &mch_id, day).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&folder.path_of(&name))), (0o700, 0o600));
    }

    #[test]
    fn a_bill_has_its_name_once_it_is_whole_and_goes_when_it_is_old() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("bills")).unwrap();
        let (mch_id, day) = (MchId::new("1900000109").unwrap(), Day::parse("2026-11-19").unwrap());
        let part = folder.part(&mch_id, day);
        fs::write(part.path(), "given up").unwrap();
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a part goes with who wrote it");
        let part = folder.part(&mch_id, day);
        fs::write(part.path(), [0x1f, 0x8b, 8]).unwrap();
        let name = folder.keep(part, &mch_id, day).unwrap();
        assert_eq!(name.as_str(), "1900000109-2026-11-19.csv.gz");
        assert!(folder.find(name.as_str()).is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let given = place.path().join("given");
        fs::write(&given, "plain").unwrap();
        let laid = folder.lay(&given, &mch_id, day, 9).unwrap();
        assert_eq!(laid.as_str(), "1900000109-2026-11-19-given-0000000000000009.csv");
        assert_eq!(folder.find("../given"), None);
        for theirs in ["shop.csv", "mine.csv.gz", ".1900000109.part", "1900000109-2026-11-19-notes.csv"] {
            fs::write(folder.path().join(theirs), "theirs").unwrap();
        }
        drop(fs::write(folder.path().join(".1900000109-2026-11-19-0000000000000009.part"), "left"));
        let written = fs::metadata(folder.path_of(&name)).unwrap().modified().unwrap();
        assert_eq!(folder.clear(written + AGE_MAX / 2).unwrap(), 0);
        assert_eq!(folder.clear(written + AGE_MAX * 2).unwrap(), 3);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "what we did not write stays");
        assert_eq!(folder.find(name.as_str()), None);
    }
}
