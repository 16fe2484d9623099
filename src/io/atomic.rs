//! Atomic file writes: whatever fails, the file is either the old or the new one as a whole.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::temporary::Temporary;

/// Writes a file by way of a temporary file in the same directory, which is renamed at the end.
///
/// The new content is synced to disk before it replaces the old file. A full disk, a crash or an error of `fill` leaves the
/// old file unchanged and no temporary file behind.
///
/// # Errors
/// [`Error::Io`] with the path if `fill`, the disk or the rename fails; [`Error::File`] if `path` exists and is not a regular
/// file (a directory or a device).
pub fn write_atomic(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut file = NewFile::create(path)?;
    let mut writer = BufWriter::new(file.file());
    let filled = fill(&mut writer).and_then(|()| writer.flush());
    drop(writer);
    filled.map_err(|e| file.error(e))?;
    file.finish()
}

/// A file under construction next to its destination. Dropped unfinished, it leaves nothing behind.
pub struct NewFile {
    file: Temporary,
    path: PathBuf,
}

impl NewFile {
    /// Starts a file with the destination `path`.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // A rename over `/dev/null` would replace the device.
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err(Error::file(path, "cannot be written: this is not a regular file"));
        }
        let file = Temporary::create(directory(path)).map_err(|e| Error::io("write", path, e))?;
        Ok(Self { file, path: path.into() })
    }

    /// The temporary file.
    pub fn file(&mut self) -> &mut File {
        self.file.file()
    }

    /// Wraps an I/O error with the destination's path.
    pub fn error(&self, error: std::io::Error) -> Error {
        Error::io("write", &self.path, error)
    }

    /// Moves the file to its destination without syncing. Other processes see the old or the new file, but after a crash of the
    /// machine it may be damaged.
    ///
    /// # Errors
    /// A rename that fails.
    pub fn finish_without_sync(self) -> Result<()> {
        let Self { file, path } = self;
        file.persist(&path).map_err(|e| Error::io("write", &path, e))
    }

    /// Syncs the file and moves it to its destination.
    ///
    /// # Errors
    /// A disk or rename that fails.
    pub fn finish(self) -> Result<()> {
        let Self { mut file, path } = self;
        let end = || {
            file.file().sync_all()?;
            file.persist(&path)?;
            sync_directory(directory(&path))
        };
        end().map_err(|e| Error::io("write", &path, e))
    }
}

/// Directory of a file's path.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Syncs the directory, so that the rename survives a crash. Some network file systems cannot do this; since the file is in
/// place anyway, that is not an error.
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(()); // a directory cannot be opened as a file there
    }
    match std::fs::File::open(directory)?.sync_all() {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_new_content_replaces_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write_atomic(&path, |w| w.write_all(b"old, and longer")).unwrap();
        write_atomic(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        std::fs::write(&path, b"old").unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(&vec![1; 100_000])?;
            Err(ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("cannot write {}", path.display())), "{message}");
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn a_panic_while_writing_leaves_the_old_file_whole_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        std::fs::write(&path, b"old").unwrap();
        let panic = std::panic::catch_unwind(|| write_atomic(&path, |_| panic!("in the callback")));
        assert!(panic.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn a_missing_directory_and_a_directory_in_the_place_are_errors_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/a.bin");
        let message = write_atomic(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("missing/a.bin"), "{message}");
        let message = write_atomic(dir.path(), |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("not a regular file"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_never_replaced() {
        assert!(write_atomic("/dev/null", |_| Ok(())).is_err());
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_gets_the_permissions_of_an_ordinary_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write_atomic(dir.path().join("a"), |_| Ok(())).unwrap();
        std::fs::write(dir.path().join("b"), b"").unwrap();
        let mode = |name| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("a"), mode("b"));
    }
}
