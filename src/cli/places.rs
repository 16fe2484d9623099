//! Destinations of results, checked before computing and locked against other processes.

use std::path::{Path, PathBuf};

use nengo_wgpu::io::atomic::{NewFile, directory};
use nengo_wgpu::io::lock::DirectoryLock;
use nengo_wgpu::io::temporary::sweep;
use nengo_wgpu::{Error, Result};

use super::log::is_finished;

/// Directories that only this process writes to.
#[derive(Default)]
pub struct Places {
    locks: Vec<(PathBuf, DirectoryLock)>,
    /// Directories that did not exist before, parents first.
    made: Vec<PathBuf>,
}

/// Removes directories that were created and are still empty.
impl Drop for Places {
    fn drop(&mut self) {
        self.locks.clear();
        self.made.iter().rev().for_each(|dir| drop(std::fs::remove_dir(dir)));
    }
}

impl Places {
    /// Creates a directory and its parents.
    fn make(&mut self, dir: &Path) -> Result<()> {
        let new: Vec<&Path> =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        self.made.extend(new.into_iter().rev().map(Path::to_path_buf));
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))
    }

    /// Creates and locks a directory until this process ends, and removes remnants of killed processes.
    pub fn take(&mut self, dir: &Path) -> Result<()> {
        self.make(dir)?;
        let full = dir.canonicalize().map_err(|e| Error::io("find", dir, e))?;
        if self.locks.iter().all(|(taken, _)| *taken != full) {
            self.locks.push((full, DirectoryLock::take(dir)?));
            sweep(dir);
        }
        Ok(())
    }

    /// Creates the directory of a file, checks that it is writable, and removes remnants of killed processes. Other processes may
    /// write other files there.
    pub fn for_file(&mut self, file: &Path) -> Result<()> {
        let dir = directory(file);
        self.make(dir)?;
        sweep(dir);
        NewFile::create(file).map(drop)
    }
}

/// Files of a training; the last one marks its end.
const FILES: [&str; 4] = ["params.safetensors", "checkpoint.safetensors", "loss.svg", "log.jsonl"];

/// Directories of a training's files.
pub struct Home {
    /// The directory given by the user.
    out: PathBuf,
    /// Directory of the files until the training is finished: `out` itself, or a subdirectory if `out` holds an older training
    /// until then.
    pub work: PathBuf,
}

impl Home {
    /// Inspects a directory that this process has locked, and chooses where a new, resumed or overwriting training works.
    pub fn open(out: &Path, resume: bool, overwrite: bool, places: &mut Places) -> Result<Self> {
        let beside = out.join("unfinished");
        let (whole, begun) = (Self::at(out, out), Self::at(out, &beside));
        if begun.is_finished() {
            // The process ended while moving the files; finish that.
            begun.settle()?;
        } else if beside.exists() && (overwrite || !begun.has("checkpoint.safetensors")) {
            begun.clear();
        }
        let unfinished = begun.has("checkpoint.safetensors");
        let home = match (resume, overwrite) {
            (true, _) if unfinished => begun,
            (true, _) if whole.has("checkpoint.safetensors") => whole,
            (true, _) => {
                let problem = "there is no checkpoint to continue from; leave out --resume to start anew";
                return Err(Error::file(out.join("checkpoint.safetensors"), problem));
            }
            (_, true) if whole.is_used() => begun,
            _ if unfinished || whole.is_used() => return Err(whole.refuse(unfinished)),
            _ => whole,
        };
        places.make(&home.work)?;
        sweep(&home.work);
        // Report files that cannot be replaced now instead of at the end.
        let in_the_way = FILES.map(|name| home.out.join(name)).into_iter().find(|path| path.is_dir());
        if let Some(path) = in_the_way {
            return Err(Error::file(path, "cannot be written: this is not a regular file"));
        }
        Ok(home)
    }

    fn at(out: &Path, work: &Path) -> Self {
        Self { out: out.into(), work: work.into() }
    }

    fn has(&self, name: &str) -> bool {
        self.work.join(name).is_file()
    }

    fn is_finished(&self) -> bool {
        is_finished(&self.work.join("log.jsonl"))
    }

    /// True if the directory holds epochs, a checkpoint or parameters of a training.
    fn is_used(&self) -> bool {
        let epochs = std::fs::metadata(self.work.join("log.jsonl")).is_ok_and(|log| log.len() > 0);
        epochs || self.has("checkpoint.safetensors") || self.has("params.safetensors")
    }

    fn refuse(&self, unfinished: bool) -> Error {
        let problem = if !unfinished && self.is_finished() {
            "it holds a finished training: continue with --resume and more --epochs, replace it with --overwrite, \
             or name another directory with --out"
        } else {
            "it holds an unfinished training: continue it with --resume, start anew with --overwrite, or name \
             another directory with --out"
        };
        Error::file(&self.out, problem)
    }

    fn clear(&self) {
        FILES.iter().for_each(|name| drop(std::fs::remove_file(self.work.join(name))));
        sweep(&self.work);
        let _ = std::fs::remove_dir(&self.work);
    }

    /// Moves the files of the finished training over older ones; returns the directory.
    pub fn settle(&self) -> Result<&Path> {
        if self.work != self.out {
            for name in FILES.into_iter().filter(|name| self.has(name)) {
                let to = self.out.join(name);
                std::fs::rename(self.work.join(name), &to).map_err(|e| Error::io("write", to, e))?;
            }
            let _ = std::fs::remove_dir(&self.work);
        }
        Ok(&self.out)
    }
}
