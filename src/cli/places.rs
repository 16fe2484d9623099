//! Where results go: tried before anything is computed, and kept from other processes until the end.

use std::path::{Path, PathBuf};

use nengo_wgpu::io::atomic::{NewFile, directory};
use nengo_wgpu::io::lock::DirectoryLock;
use nengo_wgpu::io::temporary::sweep;
use nengo_wgpu::{Error, Result};

use super::log::is_finished;

/// Directories that this process alone writes into.
#[derive(Default)]
pub struct Places {
    locks: Vec<(PathBuf, DirectoryLock)>,
    /// Those that were not there before, each after the one that it is in.
    made: Vec<PathBuf>,
}

/// Directories that were made and hold nothing in the end go again.
impl Drop for Places {
    fn drop(&mut self) {
        self.locks.clear();
        self.made.iter().rev().for_each(|dir| drop(std::fs::remove_dir(dir)));
    }
}

impl Places {
    /// Makes a directory, with those that it is in.
    fn make(&mut self, dir: &Path) -> Result<()> {
        let new: Vec<&Path> =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        self.made.extend(new.into_iter().rev().map(Path::to_path_buf));
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))
    }

    /// Makes a directory, keeps it from other processes until the end of this one, and clears what killed ones have left.
    pub fn take(&mut self, dir: &Path) -> Result<()> {
        self.make(dir)?;
        let full = dir.canonicalize().map_err(|e| Error::io("find", dir, e))?;
        if self.locks.iter().all(|(taken, _)| *taken != full) {
            self.locks.push((full, DirectoryLock::take(dir)?));
            sweep(dir);
        }
        Ok(())
    }

    /// Makes the directory of a file, tries to write there, and clears what killed processes have left. Others may write
    /// other files into it meanwhile.
    pub fn for_file(&mut self, file: &Path) -> Result<()> {
        let dir = directory(file);
        self.make(dir)?;
        sweep(dir);
        NewFile::create(file).map(drop)
    }
}

/// Files of a training, the one that tells of its end last.
const FILES: [&str; 4] = ["params.safetensors", "checkpoint.safetensors", "loss.svg", "log.jsonl"];

/// Where the files of a training are.
pub struct Home {
    /// The directory that the user knows.
    out: PathBuf,
    /// Where files are until the training is finished: the same, or a directory in it where files of an older training stay
    /// until then.
    pub work: PathBuf,
}

impl Home {
    /// Finds out what is in a directory that this process has taken, and where a training goes that is resumed, that
    /// overwrites another, or neither.
    pub fn open(out: &Path, resume: bool, overwrite: bool, places: &mut Places) -> Result<Self> {
        let beside = out.join("unfinished");
        let (whole, begun) = (Self::at(out, out), Self::at(out, &beside));
        if begun.is_finished() {
            // The process ended while it put the files in their places.
            begun.settle()?;
        } else if beside.exists() && (overwrite || !begun.has("checkpoint.safetensors")) {
            begun.clear();
        }
        let unfinished = begun.has("checkpoint.safetensors");
        let home = match (resume, overwrite) {
            (true, _) if unfinished => begun,
            (true, _) if whole.has("checkpoint.safetensors") => whole,
            (true, _) => {
                let problem = "there is no checkpoint to go on from; leave out --resume to start anew";
                return Err(Error::file(out.join("checkpoint.safetensors"), problem));
            }
            (_, true) if whole.is_used() => begun,
            _ if unfinished || whole.is_used() => return Err(whole.refuse(unfinished)),
            _ => whole,
        };
        places.make(&home.work)?;
        sweep(&home.work);
        // What cannot be replaced in the end is better told now.
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

    /// Whether the directory holds epochs, a checkpoint or parameters of a training.
    fn is_used(&self) -> bool {
        let epochs = std::fs::metadata(self.work.join("log.jsonl")).is_ok_and(|log| log.len() > 0);
        epochs || self.has("checkpoint.safetensors") || self.has("params.safetensors")
    }

    fn refuse(&self, unfinished: bool) -> Error {
        let problem = if !unfinished && self.is_finished() {
            "it holds a training that was finished: train on with --resume and more --epochs, replace it with --overwrite, \
             or name another directory with --out"
        } else {
            "it holds a training that was not finished: go on from it with --resume, start anew with --overwrite, or name \
             another directory with --out"
        };
        Error::file(&self.out, problem)
    }

    fn clear(&self) {
        FILES.iter().for_each(|name| drop(std::fs::remove_file(self.work.join(name))));
        sweep(&self.work);
        let _ = std::fs::remove_dir(&self.work);
    }

    /// The training is finished: its files take the place of older ones. Gives the directory.
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
