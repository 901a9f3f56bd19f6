//! What the files of a configuration looked like, and whether they hold still. Judges prints of contents, so a secret
//! that arrives by a switched link, a renamed copy or a touched file are all told apart by what is in them. Keeps no
//! content; decides nothing about configurations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// More of a file is not looked at: configurations, keys and certificates are far smaller.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Print {
    /// Its contents under a hash whose key nobody knows.
    Of(u64),
    /// Not there, or not to be read.
    None(io::ErrorKind),
}

/// All files at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prints(BTreeMap<PathBuf, Print>);

impl Prints {
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    pub fn of(&self, path: &Path) -> Option<Print> {
        self.0.get(path).copied()
    }

    /// The files that `other` saw otherwise, or not at all.
    pub fn differing<'p>(&'p self, other: &'p Prints) -> impl Iterator<Item = &'p Path> {
        let differs = |(path, print): &(&PathBuf, &Print)| other.0.get(*path) != Some(*print);
        self.0.iter().filter(differs).map(|(path, _)| path.as_path())
    }
}

/// Takes prints. Those of two printers cannot be compared.
#[derive(Debug, Clone, Default)]
pub struct Printer(RandomState);

impl Printer {
    /// Reads every file; blocks.
    pub fn take(&self, paths: &BTreeSet<PathBuf>) -> Prints {
        Prints(paths.iter().map(|path| (path.clone(), self.print(path))).collect())
    }

    fn print(&self, path: &Path) -> Print {
        let mut bytes = Vec::new();
        let read = open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        let print = match read {
            Ok(_) => Print::Of(self.0.hash_one(&bytes)),
            Err(error) => Print::None(error.kind()),
        };
        bytes.fill(0);
        print
    }
}

/// A pipe would be emptied by a look, or would hold it for ever.
fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() { File::open(path) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Whether the file can be read only once.
pub fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|is| !is.is_file() && !is.is_dir())
}

/// What a look tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// As they were when they were last judged.
    Same,
    /// Different, but perhaps half written: they were not so a look ago.
    Moving,
    /// Different, and they hold still.
    Settled,
}

/// Remembers what was judged and what was seen last.
#[derive(Debug, Default)]
pub struct Watch {
    judged: Prints,
    seen: Option<Prints>,
}

impl Watch {
    /// From the configuration that the process began with.
    pub fn new(judged: Prints) -> Self {
        Self { judged, seen: None }
    }

    /// What to look at.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.judged.paths()
    }

    /// One look. A change counts when two looks in a row see the same.
    pub fn look(&mut self, now: Prints) -> Sight {
        if now == self.judged {
            self.seen = None;
            return Sight::Same;
        }
        let holds_still = self.seen.as_ref() == Some(&now);
        self.seen = Some(now);
        if holds_still { Sight::Settled } else { Sight::Moving }
    }

    /// These were judged, well or badly: they are no news any more.
    pub fn judged(&mut self, prints: Prints) {
        *self = Self::new(prints);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        printer: Printer,
    }

    impl Folder {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), printer: Printer::default() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn prints(&self, names: &[&str]) -> Prints {
            self.printer.take(&names.iter().map(|name| self.path(name)).collect())
        }
    }

    #[test]
    fn a_change_counts_when_it_holds_still_and_once() {
        let folder = Folder::new();
        let prints = || folder.prints(&["a", "b"]);
        folder.write("a", "old");
        let mut watch = Watch::new(prints());
        assert_eq!(watch.look(prints()), Sight::Same);
        folder.write("a", "ne");
        assert_eq!(watch.look(prints()), Sight::Moving);
        folder.write("a", "new");
        assert_eq!(watch.look(prints()), Sight::Moving, "it was half written");
        assert_eq!(watch.look(prints()), Sight::Settled);
        watch.judged(prints());
        assert_eq!(watch.look(prints()), Sight::Same);
        folder.write("b", "another file");
        assert_eq!(watch.look(prints()), Sight::Moving);
    }

    #[test]
    fn what_comes_back_as_it_was_is_no_change() {
        let folder = Folder::new();
        let prints = || folder.prints(&["key"]);
        folder.write("key", "K");
        let mut watch = Watch::new(prints());
        fs::remove_file(folder.path("key")).unwrap();
        assert_eq!(watch.look(prints()), Sight::Moving, "an editor renames");
        folder.write("key", "K");
        assert_eq!(watch.look(prints()), Sight::Same);
        fs::remove_file(folder.path("key")).unwrap();
        assert_eq!(watch.look(prints()), Sight::Moving, "the count begins anew");
        assert_eq!(watch.look(prints()), Sight::Settled);
    }

    #[test]
    fn a_switched_link_and_a_renamed_copy_are_seen() {
        let folder = Folder::new();
        for (data, key) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(folder.path(data)).unwrap();
            folder.write(&format!("{data}/key"), key);
        }
        // As Kubernetes lays out a secret: key → ..data/key, ..data → ..1, then ..data is replaced.
        symlink(folder.path("..1"), folder.path("..data")).unwrap();
        symlink("..data/key", folder.path("key")).unwrap();
        let before = folder.prints(&["key"]);
        symlink(folder.path("..2"), folder.path("..tmp")).unwrap();
        fs::rename(folder.path("..tmp"), folder.path("..data")).unwrap();
        let switched = folder.prints(&["key"]);
        assert_ne!(before, switched);
        folder.write("copy", "newer");
        fs::rename(folder.path("copy"), folder.path("..2/key")).unwrap();
        assert_ne!(switched, folder.prints(&["key"]));
    }

    #[test]
    fn a_pipe_is_neither_opened_nor_waited_for() {
        let folder = Folder::new();
        let pipe = folder.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(folder.prints(&["pipe"]), folder.prints(&["pipe"]), "nobody writes to it");
        assert!(is_stream(&pipe) && !is_stream(folder.folder.path()) && !is_stream(&folder.path("none")));
    }

    #[test]
    fn prints_show_no_content() {
        let folder = Folder::new();
        folder.write("key", "192006250b4c09247ec02edce69f6a2d");
        assert!(!format!("{:?}", folder.prints(&["key"])).contains("192006"));
    }
}
