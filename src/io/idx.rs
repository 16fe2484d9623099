//! IDX files, the format of MNIST and its successors, plain or gzipped.
//!
//! A file consists of two zero bytes, a type byte, the number of dimensions, each dimension as a big-endian 32-bit number, and
//! the values in row-major order.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::Source;

/// Type byte of unsigned bytes, the only type used by data sets in this format.
const UNSIGNED_BYTE: u8 = 0x08;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Dimensions, at least one; for images: count, height, width.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes. Gzip is detected by the first bytes.
///
/// # Errors
/// [`Error::Io`], also for corrupt gzip data; [`Error::File`] for a file that is not IDX or of another type, or whose number of
/// values differs from its dimensions.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx> {
    Packed::open(path.as_ref())?.read()
}

/// An IDX file whose header has been read.
pub(super) struct Packed<'a> {
    path: &'a Path,
    source: Source,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Number of bytes for these dimensions.
    promised: u64,
}

impl<'a> Packed<'a> {
    /// Reads the header and compares the dimensions with the length of the file.
    pub fn open(path: &'a Path) -> Result<Self> {
        let mut source = Source::open(path)?;
        let shape = read_header(path, &mut source)?;
        let header = 4 + 4 * shape.len() as u64;
        let product = shape.iter().try_fold(1u64, |count, &side| count.checked_mul(side as u64));
        let promised = product.filter(|count| count.checked_add(header + 1).is_some());
        let Some(promised) = promised else {
            return Err(Error::file(path, format!("its dimensions {shape:?} are larger than any file")));
        };
        let room = source.most.saturating_sub(header);
        let all = Self { path, source, shape, promised };
        if promised > room {
            return Err(all.wrong(if all.source.gzip {
                format!("a gzip file of {} bytes cannot hold as many", all.source.stored)
            } else {
                format!("{room} follow the header")
            }));
        }
        Ok(all)
    }

    fn wrong(&self, found: String) -> Error {
        let problem = format!("its dimensions {:?} need {} bytes, but {found}", self.shape, self.promised);
        Error::file(self.path, problem)
    }

    /// Reads the values.
    pub fn read(mut self) -> Result<Idx> {
        // One byte more than promised shows that there are too many, however many a gzip file unpacks to.
        let mut data = Vec::new();
        let read = (&mut self.source.reader).take(self.promised + 1).read_to_end(&mut data);
        read.map_err(|e| Error::io("read", self.path, e))?;
        match data.len() as u64 {
            found if found < self.promised => Err(self.wrong(format!("{found} follow the header"))),
            found if found > self.promised => Err(self.wrong("more follow the header".to_string())),
            _ => Ok(Idx { shape: self.shape, data }),
        }
    }
}

fn read_header(path: &Path, source: &mut Source) -> Result<Vec<usize>> {
    let mut magic = [0; 4];
    read_exact(path, source, &mut magic)?;
    let [0, 0, kind, dimensions] = magic else {
        return Err(Error::file(
            path,
            format!("not an IDX file: it starts with {magic:02x?}, not with two zeros"),
        ));
    };
    if kind != UNSIGNED_BYTE {
        let problem = format!("an IDX file of type 0x{kind:02x}; only unsigned bytes (0x08) can be read");
        return Err(Error::file(path, problem));
    }
    if dimensions == 0 {
        return Err(Error::file(path, "an IDX file without dimensions"));
    }
    let mut sides = vec![[0; 4]; usize::from(dimensions)];
    read_exact(path, source, sides.as_flattened_mut())?;
    Ok(sides.into_iter().map(|side| u32::from_be_bytes(side) as usize).collect())
}

fn read_exact(path: &Path, source: &mut Source, bytes: &mut [u8]) -> Result<()> {
    source.reader.read_exact(bytes).map_err(|e| {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            Error::file(path, "not an IDX file: it ends within the header")
        } else {
            Error::io("read", path, e)
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    /// The bytes of an IDX file, valid or not.
    pub(crate) fn idx_bytes(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|side| side.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Idx> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.idx");
        std::fs::write(&path, bytes).unwrap();
        let result = read_idx(&path);
        if let Err(error) = &result {
            assert!(error.to_string().contains("images.idx"), "{error}");
        }
        result
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn plain_and_packed_files_hold_the_same(shape in prop::collection::vec(0u32..9, 1..5), salt in any::<u8>()) {
            let count: u32 = shape.iter().product();
            let data: Vec<u8> = (0..count).map(|i| (i as u8).wrapping_mul(31) ^ salt).collect();
            let bytes = idx_bytes(8, &shape, &data);
            let expected = Idx { shape: shape.iter().map(|&side| side as usize).collect(), data };
            prop_assert_eq!(&read(&bytes).unwrap(), &expected);
            prop_assert_eq!(&read(&gzip(&bytes)).unwrap(), &expected);
        }

        #[test]
        fn damaged_files_never_panic(at in 0usize..100, with in any::<u8>(), packed in any::<bool>()) {
            let mut bytes = idx_bytes(8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
            if packed {
                bytes = gzip(&bytes);
            }
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(read_idx("/nowhere/images.idx").unwrap_err().to_string().contains("/nowhere/images.idx"));
    }

    #[test]
    fn too_few_and_too_many_values_give_different_errors() {
        for pack in [<[u8]>::to_vec, gzip] {
            let message = problem(&pack(&idx_bytes(8, &[2, 3], &[0; 5])));
            assert!(message.contains("[2, 3] need 6 bytes, but 5 follow"), "{message}");
            let message = problem(&pack(&idx_bytes(8, &[2, 3], &[0; 7])));
            assert!(message.contains("[2, 3] need 6 bytes, but more follow"), "{message}");
            for short in [&idx_bytes(8, &[2, 3], &[])[..9], &[0, 0, 8], &[]] {
                assert!(problem(&pack(short)).contains("ends within the header"), "{short:?}");
            }
        }
    }

    #[test]
    fn huge_promises_are_refused_before_anything_is_allocated() {
        for pack in [<[u8]>::to_vec, gzip] {
            assert!(problem(&pack(&idx_bytes(8, &[u32::MAX; 255], &[]))).contains("larger than any file"));
            assert!(
                problem(&pack(&idx_bytes(8, &[u32::MAX; 2], &[])))
                    .contains("18446744065119617025 bytes, but")
            );
        }
        // The zero makes the product small whatever else is promised.
        assert!(read(&idx_bytes(8, &[0, u32::MAX, u32::MAX], &[])).unwrap().data.is_empty());
    }

    #[test]
    fn a_gzip_bomb_is_read_no_further_than_promised() {
        let bomb = gzip(&idx_bytes(8, &[10], &vec![0; 50_000_000]));
        assert!(bomb.len() < 100_000);
        assert!(problem(&bomb).contains("[10] need 10 bytes, but more follow"));
    }

    #[test]
    fn a_packed_file_that_is_cut_short_is_an_error() {
        let packed = gzip(&idx_bytes(8, &[1000], &(0..1000).map(|i| (i * i) as u8).collect::<Vec<_>>()));
        assert!(read(&packed[..packed.len() / 2]).is_err());
        assert!(read(&packed[..packed.len() - 4]).is_err());
    }

    #[test]
    fn other_types_and_other_files_are_refused() {
        assert!(problem(&idx_bytes(0x0d, &[1], &[0; 4])).contains("type 0x0d; only unsigned bytes"));
        assert!(problem(&idx_bytes(8, &[], &[0])).contains("without dimensions"));
        assert!(problem(b"P5 28 28 255 ...").contains("not an IDX file: it starts with"));
    }
}
