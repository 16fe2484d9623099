//! NumPy files, written block by block for arrays larger than memory.
//!
//! The format is version 1.0 of `numpy.lib.format`: 32-bit floats, little-endian, in C order. An `.npz` file is a zip archive of
//! such files, here without compression.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView3;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::error::{Error, Result};
use crate::io::atomic::{NewFile, directory};

/// Shape of an array: (examples, rows, size).
pub type Shape = [usize; 3];

/// An `.npy` file under construction. Dropped unfinished, it leaves nothing behind.
pub struct NpyFile {
    file: NewFile,
    path: PathBuf,
    body: Body,
}

impl NpyFile {
    /// Starts a file for an array of this shape. Elements that are not written are zero.
    ///
    /// # Errors
    /// A file that cannot be created, or a disk that is too small.
    pub fn create(path: impl AsRef<Path>, shape: Shape) -> Result<Self> {
        let path = path.as_ref();
        let mut file = NewFile::create(path)?;
        let body = Body::start(file.file(), 0, shape).map_err(|e| file.error(e))?;
        Ok(Self { file, path: path.into(), body })
    }

    /// Writes a block of rows, starting at this example and row.
    ///
    /// # Errors
    /// A block outside the array, or a full disk.
    pub fn write(&mut self, example: usize, row: usize, values: ArrayView3<'_, f32>) -> Result<()> {
        self.body.check(&self.path, example, row, values)?;
        self.body.write(self.file.file(), example, row, values).map_err(|e| self.file.error(e))
    }

    /// Truncates the array to its first `examples` and `rows`, after a run that ended early.
    ///
    /// # Errors
    /// A disk that fails.
    pub fn keep(&mut self, examples: usize, rows: usize) -> Result<()> {
        let kept = self.body.keep(self.file.file(), examples, rows);
        kept.and_then(|()| self.file.file().set_len(self.body.end())).map_err(|e| self.file.error(e))
    }

    /// Moves the file to its destination.
    ///
    /// # Errors
    /// A disk or rename that fails.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }
}

/// An `.npz` file under construction. Its arrays are kept in a temporary file, since an archive is written sequentially.
pub struct NpzFile {
    file: NewFile,
    path: PathBuf,
    waiting: File,
    arrays: Vec<(String, Body)>,
}

impl NpzFile {
    /// Starts an archive without arrays.
    ///
    /// # Errors
    /// A file that cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = NewFile::create(path)?;
        let waiting = tempfile::tempfile_in(directory(path)).map_err(|e| file.error(e))?;
        Ok(Self { file, path: path.into(), waiting, arrays: Vec::new() })
    }

    /// Adds an array and returns its index. The name must be unique.
    ///
    /// # Errors
    /// A disk that is too small.
    pub fn add(&mut self, name: &str, shape: Shape) -> Result<usize> {
        let start = self.arrays.last().map_or(0, |(_, body)| body.end());
        let body = Body::start(&mut self.waiting, start, shape).map_err(|e| self.file.error(e))?;
        self.arrays.push((name.to_string(), body));
        Ok(self.arrays.len() - 1)
    }

    /// Writes a block of rows of an array, starting at this example and row.
    ///
    /// # Errors
    /// As [`NpyFile::write`].
    pub fn write(
        &mut self,
        array: usize,
        example: usize,
        row: usize,
        values: ArrayView3<'_, f32>,
    ) -> Result<()> {
        let (_, body) = &self.arrays[array];
        body.check(&self.path, example, row, values)?;
        body.write(&mut self.waiting, example, row, values).map_err(|e| self.file.error(e))
    }

    /// Truncates an array like [`NpyFile::keep`].
    ///
    /// # Errors
    /// A disk that fails.
    pub fn keep(&mut self, array: usize, examples: usize, rows: usize) -> Result<()> {
        let (_, body) = &mut self.arrays[array];
        body.keep(&mut self.waiting, examples, rows).map_err(|e| self.file.error(e))
    }

    /// Writes the archive and moves it to its destination.
    ///
    /// # Errors
    /// A disk or rename that fails.
    pub fn finish(mut self) -> Result<()> {
        let pack = |to: &mut File, from: &mut File, arrays: &[(String, Body)]| {
            let mut zip = ZipWriter::new(BufWriter::new(to));
            for (name, body) in arrays {
                let large = body.bytes() > u64::from(u32::MAX) / 2;
                zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(large))?;
                from.seek(SeekFrom::Start(body.start))?;
                io::copy(&mut from.take(body.bytes()), &mut zip)?;
            }
            zip.finish()?.flush()
        };
        let packed = pack(self.file.file(), &mut self.waiting, &self.arrays);
        packed.map_err(|e| self.file.error(e))?;
        self.file.finish()
    }
}

/// Location of an array in its file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Body {
    pub shape: Shape,
    /// Offset of its header.
    start: u64,
    /// Length of the header in bytes.
    header: u64,
}

impl Body {
    /// Writes the header at `start` and reserves room for the elements, so that a disk that is too small fails early.
    pub fn start(file: &mut File, start: u64, shape: Shape) -> io::Result<Self> {
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("{shape:?} floats"));
        let bytes = shape.iter().try_fold(4_u64, |n, &d| n.checked_mul(d as u64)).ok_or_else(too_large)?;
        let text = header(shape, 0);
        let body = Self { shape, start, header: text.len() as u64 };
        let all = bytes.checked_add(body.header).filter(|n| n.checked_add(start).is_some());
        make_room(file, start, all.ok_or_else(too_large)?)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&text)?;
        Ok(body)
    }

    /// Length of header and elements in bytes.
    fn bytes(&self) -> u64 {
        self.header + 4 * self.shape.iter().product::<usize>() as u64
    }

    /// Offset of its first element.
    pub fn first(&self) -> u64 {
        self.start + self.header
    }

    /// Offset after its last element.
    pub fn end(&self) -> u64 {
        self.start + self.bytes()
    }

    /// Truncates to the first `examples` and `rows`, moving their elements together.
    pub fn keep(&mut self, file: &mut File, examples: usize, rows: usize) -> io::Result<()> {
        let [all, most, size] = self.shape;
        let (examples, rows) = (examples.min(all), rows.min(most));
        let [old, new] = [most, rows].map(|rows| 4 * (rows * size) as u64);
        for example in 1..if old == new { 0 } else { examples as u64 } {
            move_bytes(file, self.first() + example * old, self.first() + example * new, new)?;
        }
        self.shape = [examples, rows, size];
        file.seek(SeekFrom::Start(self.start))?;
        file.write_all(&header(self.shape, self.header as usize))
    }

    pub fn check(&self, path: &Path, example: usize, row: usize, values: ArrayView3<'_, f32>) -> Result<()> {
        let ((examples, rows, size), [all, most, width]) = (values.dim(), self.shape);
        let fits = |from: usize, n: usize, end: usize| from.checked_add(n).is_some_and(|to| to <= end);
        if fits(example, examples, all) && fits(row, rows, most) && size == width {
            return Ok(());
        }
        let problem = format!(
            "a block of shape {:?} at example {example} and row {row} does not fit into an array of shape {:?}",
            values.shape(),
            self.shape
        );
        Err(Error::file(path, problem))
    }

    pub fn write(
        &self,
        file: &mut File,
        example: usize,
        row: usize,
        values: ArrayView3<'_, f32>,
    ) -> io::Result<()> {
        let [_, rows, size] = self.shape;
        for (i, block) in values.outer_iter().enumerate() {
            let first = ((example + i) * rows + row) * size;
            let bytes: Vec<u8> = block.iter().flat_map(|x| x.to_le_bytes()).collect();
            file.seek(SeekFrom::Start(self.first() + 4 * first as u64))?;
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Moves bytes towards the start of a file, in blocks.
fn move_bytes(file: &mut File, from: u64, to: u64, count: u64) -> io::Result<()> {
    let mut part = vec![0; count.min(1 << 20) as usize];
    let mut moved = 0;
    while moved < count {
        let part = &mut part[..(count - moved).min(1 << 20) as usize];
        file.seek(SeekFrom::Start(from + moved))?;
        file.read_exact(part)?;
        file.seek(SeekFrom::Start(to + moved))?;
        file.write_all(part)?;
        moved += part.len() as u64;
    }
    Ok(())
}

/// Extends a file to `bytes` beyond `start` with zeros, allocated on disk where the file system supports it.
fn make_room(file: &File, start: u64, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        // Other file systems cannot allocate, which is not an error.
        if let Err(why @ (Errno::NOSPC | Errno::FBIG | Errno::DQUOT)) =
            fallocate(file, FallocateFlags::empty(), start, bytes)
        {
            let why = io::Error::from(why);
            return Err(io::Error::new(why.kind(), format!("no room for its {bytes} bytes: {why}")));
        }
    }
    file.set_len(start + bytes)
}

/// The header; its length is a multiple of 64 and at least `least`.
fn header([examples, rows, size]: Shape, least: usize) -> Vec<u8> {
    const PREAMBLE: usize = 10;
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({examples}, {rows}, {size}), }}");
    let end = (PREAMBLE + text.len() + 1).next_multiple_of(64).max(least);
    text.extend(std::iter::repeat_n(' ', end - PREAMBLE - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, s};
    use ndarray_npy::{NpzReader, read_npy};

    fn array() -> Array3<f32> {
        Array3::from_shape_fn((3, 10, 2), |(b, t, c)| (100 * b + 10 * t + c) as f32)
    }

    /// Writes blocks of two and one examples, and of four, four and two rows.
    fn in_blocks(mut write: impl FnMut(usize, usize, ArrayView3<'_, f32>)) {
        for (examples, first) in [(0..2, 0), (2..3, 2)] {
            for rows in [0..4, 4..8, 8..10] {
                write(first, rows.start, array().slice(s![examples.clone(), rows.clone(), ..]));
            }
        }
    }

    #[test]
    fn an_array_that_was_written_in_blocks_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let mut file = NpyFile::create(&path, [3, 10, 2]).unwrap();
        in_blocks(|b, t, values| file.write(b, t, values).unwrap());
        assert!(!path.exists(), "nothing is there before it is whole");
        file.finish().unwrap();
        assert_eq!(read_npy::<_, Array3<f32>>(&path).unwrap(), array());
    }

    #[test]
    fn an_archive_holds_its_arrays_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let mut file = NpzFile::create(&path).unwrap();
        let (a, empty) = (file.add("a", [3, 10, 2]).unwrap(), file.add("empty", [3, 0, 2]).unwrap());
        assert_ne!(a, empty);
        in_blocks(|b, t, values| file.write(a, b, t, values).unwrap());
        file.finish().unwrap();
        let mut npz = NpzReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(npz.by_name::<_, ndarray::Ix3>("a").map(|a: Array3<f32>| a).unwrap(), array());
        assert_eq!(npz.by_name::<_, ndarray::Ix3>("empty").map(|a: Array3<f32>| a).unwrap().dim(), (3, 0, 2));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn the_first_examples_and_rows_are_kept_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (examples, rows) in [(3, 10), (2, 10), (3, 4), (1, 1), (0, 10), (3, 0), (9, 99)] {
            let path = dir.path().join("a.npy");
            let mut file = NpyFile::create(&path, [3, 10, 2]).unwrap();
            in_blocks(|b, t, values| file.write(b, t, values).unwrap());
            file.keep(examples, rows).unwrap();
            file.finish().unwrap();
            let part = array().slice(s![..examples.min(3), ..rows.min(10), ..]).to_owned();
            assert_eq!(read_npy::<_, Array3<f32>>(&path).unwrap(), part);

            let path = dir.path().join("a.npz");
            let mut file = NpzFile::create(&path).unwrap();
            let [a, b] = ["a", "b"].map(|name| file.add(name, [3, 10, 2]).unwrap());
            in_blocks(|e, t, values| [a, b].iter().for_each(|n| file.write(*n, e, t, values).unwrap()));
            file.keep(a, examples, rows).unwrap();
            file.finish().unwrap();
            let mut npz = NpzReader::new(File::open(&path).unwrap()).unwrap();
            assert_eq!(npz.by_name::<_, ndarray::Ix3>("a").map(|a: Array3<f32>| a).unwrap(), part);
            assert_eq!(npz.by_name::<_, ndarray::Ix3>("b").map(|a: Array3<f32>| a).unwrap(), array());
        }
    }

    #[test]
    fn an_array_that_no_disk_holds_is_refused_before_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let message = NpyFile::create(dir.path().join("a.npy"), [1, 1 << 50, 1 << 8]).err().unwrap();
        assert!(message.to_string().contains("a.npy"), "{message}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_block_outside_of_the_array_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let mut file = NpyFile::create(&path, [3, 10, 2]).unwrap();
        for (example, row) in [(1, 0), (0, 1), (usize::MAX, 0)] {
            let message = file.write(example, row, array().view()).unwrap_err().to_string();
            assert!(message.contains("a.npy") && message.contains("[3, 10, 2]"), "{message}");
        }
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(NpyFile::create(&path, [usize::MAX, usize::MAX, 2]).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
