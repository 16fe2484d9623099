//! NumPy's files, written part by part: arrays that are larger than the memory.
//!
//! The format is that of numpy's `numpy.lib.format`, version 1.0: 32-bit floats, little-endian, in C order. An `.npz`
//! file is a zip archive of such files, here without compression.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView3;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::atomic::{NewFile, directory};
use crate::error::{Error, Result};

/// (examples, rows, size)
pub type Shape = [usize; 3];

/// An `.npy` file under construction. Dropped before it is finished, it leaves nothing behind.
pub struct NpyFile {
    file: NewFile,
    path: PathBuf,
    body: Body,
}

impl NpyFile {
    /// Starts a file of an array of this shape. What is not written stays zero.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(path: impl AsRef<Path>, shape: Shape) -> Result<Self> {
        let path = path.as_ref();
        let mut file = NewFile::create(path)?;
        let body = Body::start(file.file(), shape).map_err(|e| file.error(e))?;
        Ok(Self { file, path: path.into(), body })
    }

    /// Writes a block of rows, from this example and row on.
    ///
    /// # Errors
    /// A block that lies outside of the array, or a disk that is full.
    pub fn write(&mut self, example: usize, row: usize, values: ArrayView3<'_, f32>) -> Result<()> {
        self.body.check(&self.path, example, row, values)?;
        self.body.write(self.file.file(), example, row, values).map_err(|e| self.file.error(e))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When the disk or the rename fails.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }
}

/// An `.npz` file under construction. Its arrays wait in temporary files beside it, since an archive is written in one go.
pub struct NpzFile {
    file: NewFile,
    path: PathBuf,
    arrays: Vec<(String, File, Body)>,
}

impl NpzFile {
    /// Starts an archive without arrays.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self { file: NewFile::create(path)?, path: path.into(), arrays: Vec::new() })
    }

    /// Adds an array and gives its number.
    ///
    /// # Errors
    /// A temporary file that cannot be made.
    pub fn add(&mut self, name: &str, shape: Shape) -> Result<usize> {
        let start = || {
            let mut file = tempfile::tempfile_in(directory(&self.path))?;
            let body = Body::start(&mut file, shape)?;
            Ok((name.to_string(), file, body))
        };
        let array = start().map_err(|e| self.file.error(e))?;
        self.arrays.push(array);
        Ok(self.arrays.len() - 1)
    }

    /// Writes a block of rows of an array, from this example and row on.
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
        let (_, file, body) = &mut self.arrays[array];
        body.check(&self.path, example, row, values)?;
        body.write(file, example, row, values).map_err(|e| self.file.error(e))
    }

    /// Packs the arrays and puts the archive in its place.
    ///
    /// # Errors
    /// When the disk or the rename fails.
    pub fn finish(mut self) -> Result<()> {
        let pack = |to: &mut File, arrays: &mut [(String, File, Body)]| {
            let mut zip = ZipWriter::new(BufWriter::new(to));
            for (name, file, body) in arrays {
                let large = body.bytes() > u64::from(u32::MAX) / 2;
                zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(large))?;
                file.seek(SeekFrom::Start(0))?;
                io::copy(file, &mut zip)?;
            }
            zip.finish()?.flush()
        };
        pack(self.file.file(), &mut self.arrays).map_err(|e| self.file.error(e))?;
        self.file.finish()
    }
}

/// An array's place in its file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Body {
    pub shape: Shape,
    /// Bytes before the first element.
    pub header: u64,
}

impl Body {
    pub fn start(file: &mut File, shape: Shape) -> io::Result<Self> {
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("{shape:?} floats"));
        let bytes = shape.iter().try_fold(4_u64, |n, &d| n.checked_mul(d as u64)).ok_or_else(too_large)?;
        let text = header(shape);
        file.write_all(&text)?;
        let body = Self { shape, header: text.len() as u64 };
        file.set_len(body.header.checked_add(bytes).ok_or_else(too_large)?)?;
        Ok(body)
    }

    fn bytes(&self) -> u64 {
        self.header + 4 * self.shape.iter().product::<usize>() as u64
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
            file.seek(SeekFrom::Start(self.header + 4 * first as u64))?;
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// What stands before the elements; its length is a multiple of 64.
fn header([examples, rows, size]: Shape) -> Vec<u8> {
    const PREAMBLE: usize = 10;
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({examples}, {rows}, {size}), }}");
    let end = (PREAMBLE + text.len() + 1).next_multiple_of(64);
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

    /// Blocks of two and one examples, and of four, four and two rows.
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
